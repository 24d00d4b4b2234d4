"""Experiment files in, typed experiments or every mistake out."""

import json

import pytest

from shared.config import Experiment, json_schema, load_experiment, parse_experiment
from shared.config.hyperparameters import Categorical, Const, Double, Int, Log, Nested
from shared.config.searcher import BayesianSearch, SingleSearch
from shared.errors import Problem, Rejected

SMALL = "entrypoint: python train.py\nsearcher: {name: single, metric: loss}\n"
WHOLE = """
name: digits
description: a search
labels: [a, b]
entrypoint: [python3, train.py]
hyperparameters:
  lr: {type: log, minval: -4, maxval: -1}
  width: {type: int, minval: 16, maxval: 128}
  dropout: {type: double, minval: 0, maxval: 0.5}
  optimizer:
    name: {type: categorical, vals: [adam, sgd]}
    decay: 1e-4
    betas: [0.9, 0.999]
  flag: {type: const, val: null}
  nothing: {}
searcher:
  name: bayesian
  metric: accuracy
  smaller_is_better: false
  max_length: {epochs: 3}
  max_trials: 12
resources: {slots_per_trial: 2}
max_restarts: 3
preemption_timeout: null
environment: {environment_variables: [A=1, "B=x=y"]}
reproducibility: {experiment_seed: 7}
deepspeed: {zero_stage: 1, micro_batch_size: 8}
data: {path: /datasets/digits}
"""


def problems(text: str) -> dict[str, Problem]:
    """The problems of a text by their path."""
    with pytest.raises(Rejected) as caught:
        parse_experiment(text)
    return {problem.path: problem for problem in caught.value.problems}


def only_problem(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    return next(iter(found.values()))


def test_a_small_file_gets_every_default() -> None:
    experiment = parse_experiment(SMALL)
    assert isinstance(experiment.searcher, SingleSearch)
    assert experiment.searcher.smaller_is_better
    assert experiment.resources.slots_per_trial == 1
    assert experiment.resources.resource_pool == "default"
    assert experiment.max_restarts == 5
    assert experiment.preemption_timeout == 60
    assert experiment.reproducibility.experiment_seed is None
    assert experiment.deepspeed is None
    assert experiment.num_trials == 1


def test_a_whole_file_is_read_with_its_meaning() -> None:
    experiment = parse_experiment(WHOLE)
    space = experiment.hyperparameters
    assert space["lr"] == Log(minval=-4, maxval=-1, base=10)
    assert space["width"] == Int(minval=16, maxval=128)
    assert space["dropout"] == Double(minval=0, maxval=0.5)
    assert space["flag"] == Const(val=None)
    optimizer = space["optimizer"]
    assert isinstance(optimizer, Nested)
    assert optimizer.root["name"] == Categorical(vals=("adam", "sgd"))
    assert optimizer.root["decay"] == Const(val=0.0001)
    assert optimizer.root["betas"] == Const(val=[0.9, 0.999])
    assert isinstance(experiment.searcher, BayesianSearch)
    assert experiment.searcher.max_concurrent_trials == 2
    assert experiment.searcher.max_length is not None
    assert (experiment.searcher.max_length.unit, experiment.searcher.max_length.count) == ("epochs", 3)
    assert experiment.entrypoint == ("python3", "train.py")
    assert experiment.preemption_timeout == 60
    assert experiment.num_trials == 12


@pytest.mark.parametrize("text", [SMALL, WHOLE, SMALL + "deepspeed: {train_batch_size: 8, fp16: {enabled: true}}"])
def test_what_an_event_stores_is_read_back_the_same(text: str) -> None:
    experiment = parse_experiment(text)
    stored = json.loads(json.dumps(experiment.model_dump(mode="json")))
    assert load_experiment(stored) == experiment


def test_a_stored_experiment_is_a_valid_file() -> None:
    stored = json.dumps(parse_experiment(WHOLE).model_dump(mode="json"))
    assert parse_experiment(stored) == parse_experiment(WHOLE)


def test_a_stored_experiment_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Rejected, match="entrypoint"):
        load_experiment({"searcher": {"name": "single", "metric": "loss"}})


def test_a_seed_is_added_only_when_none_was_given() -> None:
    assert parse_experiment(SMALL).with_seed(5).seed == 5
    assert parse_experiment(WHOLE).with_seed(5).seed == 7


def test_every_mistake_is_named_at_once() -> None:
    found = problems(
        """
        name: [x]
        entrypoin: python train.py
        hyperparameters:
          lr: {type: log, minval: -1, maxval: -4, cuont: 3}
          size: {type: integer, minval: 1, maxval: 3}
          nested: {momentum: {type: double, minval: 1}}
        searcher: {name: grid, metrics: x}
        resources: {slots_per_trial: -1}
        max_restarts: "3"
        deepspeed: {zero_stage: 0, offload: cpu}
        """
    )
    assert {path: str(problem.message) for path, problem in found.items()} == {
        "name": "must be text",
        "entrypoint": "is required",
        "entrypoin": "unknown key",
        "hyperparameters.lr.cuont": "unknown key for log",
        "hyperparameters.lr.count": "is required in a grid search",
        "hyperparameters.lr.maxval": "must be more than minval -1, found -4",
        "hyperparameters.size.type": "unknown type 'integer'",
        "hyperparameters.nested.momentum.maxval": "is required",
        "hyperparameters.nested.momentum.count": "is required in a grid search",
        "searcher.metric": "is required",
        "searcher.metrics": "unknown key for grid",
        "resources.slots_per_trial": "must be at least 0, found -1",
        "max_restarts": "must be a whole number, found '3'",
        "deepspeed.offload": "cpu needs zero_stage 1, 2 or 3: stage 0 keeps the whole optimizer on every device",
    }


@pytest.mark.parametrize(
    ("line", "path", "suggestion"),
    [
        ("max_restart: 1", "max_restart", "did you mean max_restarts?"),
        ("max_trails: 1", "max_trails", "did you mean searcher.max_trials?"),
        ("slots_per_trial: 1", "slots_per_trial", "did you mean resources.slots_per_trial?"),
        ("resources: {slot: 1}", "resources.slot", "did you mean max_slots?"),
        ("zzz: null", "zzz", None),
        ("hyperparameters: {x: {type: itn}}", "hyperparameters.x.type", "did you mean int?"),
        (
            "hyperparameters: {x: {type: quniform}}",
            "hyperparameters.x.type",
            "one of const, categorical, int, double, log, choice",
        ),
        ("deepspeed: {zero_stag: 1}", "deepspeed.zero_stag", "did you mean zero_stage?"),
    ],
)
def test_a_mistaken_name_gets_the_nearest_known_one(line: str, path: str, suggestion: str | None) -> None:
    problem = only_problem(SMALL + line)
    assert (problem.path, problem.suggestion) == (path, suggestion)


@pytest.mark.parametrize(
    ("searcher", "path", "message"),
    [
        ("{metric: x}", "searcher.name", "is required"),
        ("{name: bayes, metric: x}", "searcher.name", "unknown name 'bayes'"),
        ("{name: population, metric: x}", "searcher.name", "unknown name 'population'"),
        ("{name: random, metric: x}", "searcher.max_trials", "is required"),
        ("{name: random, metric: x, max_trials: 0}", "searcher.max_trials", "must be at least 1, found 0"),
        ("{name: single, metric: x, max_trials: 3}", "searcher.max_trials", "is not used by single"),
        ("{name: single, metric: ''}", "searcher.metric", "must not be empty, found ''"),
        (
            "{name: single, metric: x, smaller_is_better: 1}",
            "searcher.smaller_is_better",
            "must be true or false, found 1",
        ),
        (
            "{name: single, metric: x, max_length: {}}",
            "searcher.max_length",
            "must have exactly one of batches, epochs and records, found none",
        ),
        (
            "{name: single, metric: x, max_length: {epochs: 1, batches: 2}}",
            "searcher.max_length",
            "must have exactly one of batches, epochs and records, found batches and epochs",
        ),
        ("{name: single, metric: x, max_length: 1.5}", "searcher.max_length", "must be a mapping, found 1.5"),
        ("[]", "searcher.name", "is required"),
    ],
)
def test_a_mistake_in_the_search_is_told_without_noise(searcher: str, path: str, message: str) -> None:
    problem = only_problem(f"entrypoint: x\nsearcher: {searcher}")
    assert (problem.path, problem.message) == (path, message)


def test_a_bayesian_search_without_max_trials_is_refused() -> None:
    text = (
        "entrypoint: x\nsearcher: {name: bayesian, metric: x}\nhyperparameters: {a: {type: int, minval: 1, maxval: 2}}"
    )
    assert only_problem(text).path == "searcher.max_trials"


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("resources: {resource_pool: a.b}", "resources.resource_pool"),
        ("resources: {resource_pool: '>'}", "resources.resource_pool"),
        ("environment: {environment_variables: [A]}", "environment.environment_variables[0]"),
        ("environment: {environment_variables: [A=1, RANK=0]}", "environment.environment_variables[1]"),
        ("environment: {environment_variables: [TM_NATS_URL=x]}", "environment.environment_variables[0]"),
        ("reproducibility: {experiment_seed: 2147483648}", "reproducibility.experiment_seed"),
        ("labels: [a, 1]", "labels[1]"),
        ("data: []", "data"),
        ("hyperparameters: {a: {type: categorical, vals: []}}", "hyperparameters.a.vals"),
        ("hyperparameters: {a: {type: int, minval: 1.5, maxval: 2}}", "hyperparameters.a.minval"),
        ("hyperparameters: {a: {type: log, minval: 1, maxval: 2, base: 0}}", "hyperparameters.a.base"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_by_its_path(line: str, path: str) -> None:
    assert only_problem(SMALL + line).path == path


def test_a_file_with_thousands_of_mistakes_names_the_first_hundred() -> None:
    with pytest.raises(Rejected, match="100 mistakes or more") as caught:
        parse_experiment("\n".join(f"key{number}: 1" for number in range(5000)))
    assert len(caught.value.problems) == 100


def test_the_schema_describes_what_is_accepted() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Experiment.model_fields)
    assert schema["additionalProperties"] is False
    assert {"type": "integer", "minimum": 1} in schema["$defs"]["MaxLength"]["anyOf"]
    json.dumps(schema)


def test_a_wrong_method_hides_no_other_mistake_of_the_search() -> None:
    text = """
entrypoint: x
searcher: {name: rnadom, metrik: loss, max_trails: 3, max_trials: many, smaller_is_better: 7, initial_trials: 3}
"""
    with pytest.raises(Rejected) as rejected:
        parse_experiment(text)
    paths = [problem.path for problem in rejected.value.problems]
    keys = ("name", "metric", "smaller_is_better", "max_trials", "metrik", "max_trails")
    assert sorted(paths) == sorted(f"searcher.{key}" for key in keys)


def test_a_number_that_is_not_finite_is_told_once_with_the_path_in_the_file() -> None:
    text = """
entrypoint: x
searcher: {name: single, metric: loss}
hyperparameters: {a: .nan, b: {c: .inf}, d: {type: categorical, vals: [1, .nan]}}
"""
    with pytest.raises(Rejected) as rejected:
        parse_experiment(text)
    paths = [problem.path for problem in rejected.value.problems]
    assert paths == ["hyperparameters.a", "hyperparameters.b.c", "hyperparameters.d.vals[1]"]
    assert rejected.value.title == "the experiment file has 3 mistakes"
