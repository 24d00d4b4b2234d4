"""Rules between fields, told by the path of the field that breaks them."""

import pytest

from shared.config import parse_experiment
from shared.config.deepspeed import DeepSpeedShort
from shared.errors import Rejected
from tests.config.test_parse import SMALL, only_problem

GRID = "entrypoint: x\nsearcher: {name: grid, metric: loss}\n"
BAYESIAN = "entrypoint: x\nsearcher: {name: bayesian, metric: loss, max_trials: 3}\n"


@pytest.mark.parametrize("kind", ["int", "double", "log"])
def test_a_range_must_not_be_empty(kind: str) -> None:
    problem = only_problem(SMALL + f"hyperparameters: {{a: {{b: {{type: {kind}, minval: 3, maxval: 3}}}}}}")
    assert problem.path == "hyperparameters.a.b.maxval"


@pytest.mark.parametrize("kind", ["int", "double", "log"])
def test_a_grid_needs_a_count_along_every_range(kind: str) -> None:
    problem = only_problem(GRID + f"hyperparameters: {{a: {{type: {kind}, minval: 1, maxval: 3}}}}")
    assert problem.path == "hyperparameters.a.count"


def test_a_grid_has_as_many_trials_as_points() -> None:
    experiment = parse_experiment(
        GRID
        + """
hyperparameters:
  a: {type: int, minval: 1, maxval: 3, count: 100}
  b: {c: {type: double, minval: 0, maxval: 1, count: 4}, d: [1, 2, 3]}
  e: {type: categorical, vals: [x, y]}
"""
    )
    assert experiment.num_trials == 3 * 4 * 2


def test_a_grid_beyond_measure_is_refused() -> None:
    axes = ", ".join(f"a{number}: {{type: double, minval: 0, maxval: 1, count: 1000}}" for number in range(3))
    assert only_problem(GRID + f"hyperparameters: {{{axes}}}").message.startswith("make a grid of 1,000,000,000 trials")


def test_a_bayesian_search_needs_something_to_search() -> None:
    problem = only_problem(BAYESIAN + "hyperparameters: {a: 1, b: {c: 2}}")
    assert problem.path == "hyperparameters"
    assert problem.suggestion and "categorical, choice, int, double or log" in problem.suggestion
    parse_experiment(BAYESIAN + "hyperparameters: {b: {c: {type: int, minval: 1, maxval: 2}}}")
    parse_experiment(BAYESIAN + "hyperparameters: {b: {c: {type: choice, options: {sgd: {}, adam: {fixed: 1}}}}}")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ("minval: -4, maxval: 1000", "hyperparameters.a.maxval"),
        ("minval: 1, maxval: 2, base: 1", "hyperparameters.a.base"),
    ],
)
def test_a_log_hyperparameter_must_make_usable_numbers(fields: str, path: str) -> None:
    assert only_problem(SMALL + f"hyperparameters: {{a: {{type: log, {fields}}}}}").path == path


@pytest.mark.parametrize("fields", ["minval: -1.7e308, maxval: 1.7e308", "minval: 0, maxval: 1.0e308, count: 5"])
def test_a_double_must_have_numbers_between_its_ends(fields: str) -> None:
    problem = only_problem(SMALL + f"hyperparameters: {{a: {{type: double, {fields}}}}}")
    assert problem.path == "hyperparameters.a.maxval" and "too far from minval" in problem.message
    parse_experiment(SMALL + "hyperparameters: {a: {type: double, minval: 0, maxval: 1.0e308}}")


@pytest.mark.parametrize("field", ["minval", "maxval", "base", "count"])
@pytest.mark.parametrize("kind", ["int", "double", "log"])
def test_a_number_that_no_machine_holds_is_named(kind: str, field: str) -> None:
    given = {"minval": "1", "maxval": "2"} | {field: ("-" if field == "minval" else "") + "9" * 400}
    fields = ", ".join(f"{key}: {value}" for key, value in given.items())
    with pytest.raises(Rejected) as rejected:
        parse_experiment(f"{SMALL}hyperparameters: {{a: {{type: {kind}, {fields}}}}}")
    assert {problem.path for problem in rejected.value.problems} == {f"hyperparameters.a.{field}"}


def test_offload_needs_a_stage_that_shards() -> None:
    problem = only_problem(SMALL + "deepspeed: {zero_stage: 0, offload: cpu}")
    assert problem.path == "deepspeed.offload"
    assert problem.suggestion == "raise zero_stage or write offload: none"


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_offload_goes_with_every_other_stage(stage: int) -> None:
    experiment = parse_experiment(SMALL + f"deepspeed: {{zero_stage: {stage}, offload: cpu}}")
    assert experiment.deepspeed == DeepSpeedShort(zero_stage=stage, offload="cpu")


def test_the_short_form_has_stage_1_and_leaves_the_rest_to_deepspeed() -> None:
    assert parse_experiment(SMALL + "deepspeed: {gradient_clipping: 1}").deepspeed == DeepSpeedShort(
        zero_stage=1, offload="none", micro_batch_size=None, gradient_clipping=1.0
    )


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ("{precision: int8}", "deepspeed.precision"),
        ("{gradient_accumulation_steps: 0}", "deepspeed.gradient_accumulation_steps"),
        ("{zero_stage: 4}", "deepspeed.zero_stage"),
        ("{zero_stage: 1, offload: nvme}", "deepspeed.offload"),
        ("{micro_batch_size: 0}", "deepspeed.micro_batch_size"),
        ("{zero_stage: 1, zero_optimization: {stage: 1}}", "deepspeed.zero_stage"),
        ("3", "deepspeed"),
    ],
)
def test_a_mistake_in_the_short_form_is_named(section: str, path: str) -> None:
    assert only_problem(SMALL + f"deepspeed: {section}").path == path


def test_a_whole_deepspeed_configuration_passes_through() -> None:
    experiment = parse_experiment(
        SMALL + "deepspeed: {train_batch_size: 8, zero_optimization: {stage: 2}, anything: [1]}"
    )
    assert experiment.deepspeed == {"train_batch_size": 8, "zero_optimization": {"stage": 2}, "anything": [1]}


def test_batch_sizes_that_contradict_each_other_are_refused() -> None:
    sizes = "train_batch_size: 32, train_micro_batch_size_per_gpu: 4, gradient_accumulation_steps: 2"
    slots = "resources: {slots_per_trial: 2}\n"
    assert (
        "4 × gradient_accumulation_steps 2 × slots_per_trial 2 = 16"
        in only_problem(SMALL + slots + f"deepspeed: {{{sizes}}}").message
    )
    parse_experiment(SMALL + "resources: {slots_per_trial: 4}\n" + f"deepspeed: {{{sizes}}}")


@pytest.mark.parametrize(
    "name",
    [
        "async_halving, max_trials: 5, num_rungs: 3",
        "asha, max_trials: 5, num_rungs: 3",
        "adaptive_asha, max_trials: 5",
        "hyperband",
    ],
)
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ("", "searcher"),
        ("max_time: 9", "searcher.time_metric"),
        ("time_metric: epochs", "searcher.max_time"),
        ("max_length: 9, max_time: 9", "searcher.max_time"),
        ("max_time: 9, time_metric: epochs, stop_once: true", "searcher.stop_once"),
        ("max_length: 9, divisor: 1", "searcher.divisor"),
        ("max_length: 9, stop_once: 1", "searcher.stop_once"),
        ("max_length: {epochs: 1, batches: 2}", "searcher.max_length"),
    ],
)
def test_early_stopping_measures_training_in_one_way(name: str, fields: str, path: str) -> None:
    text = f"entrypoint: x\nsearcher: {{name: {name}, metric: loss, {fields}}}\n"
    assert only_problem(text).path == path


@pytest.mark.parametrize(
    ("searcher", "path"),
    [
        ("{name: hyperband, metric: loss, max_length: 9, max_trials: 5}", "searcher.max_trials"),
        ("{name: hyperband, metric: loss, max_length: {epochs: 1000000000}, max_rungs: 12}", "searcher.max_rungs"),
        ("{name: hyperband, metric: loss, max_length: {}}", "searcher.max_length"),
        ("{name: hyperband, metric: loss, max_time: 9, time_metric: x, max_rungs: 31}", "searcher.max_rungs"),
        ("{name: asha, metric: loss, max_trials: 5, max_length: 9}", "searcher.num_rungs"),
        ("{name: asha, metric: loss, max_trials: 5, max_length: 9, num_rungs: 0}", "searcher.num_rungs"),
        ("{name: adaptive_asha, metric: loss, max_trials: 5, max_length: 9, mode: bold}", "searcher.mode"),
        ("{name: adaptive_asha, metric: loss, max_trials: 1, max_length: 9, bracket_rungs: [2, 1]}",
         "searcher.bracket_rungs"),
        ("{name: adaptive_asha, metric: loss, max_trials: 5, max_length: 9, bracket_rungs: [0]}",
         "searcher.bracket_rungs[0]"),
    ],
)  # fmt: skip
def test_a_mistake_about_rungs_is_named(searcher: str, path: str) -> None:
    assert only_problem(f"entrypoint: x\nsearcher: {searcher}\n").path == path


def test_max_slots_hold_at_least_one_trial() -> None:
    problem = only_problem(SMALL + "resources: {slots_per_trial: 4, max_slots: 2}")
    assert (problem.path, problem.suggestion) == ("resources.max_slots", "write at least 4")
