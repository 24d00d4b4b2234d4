"""What a search has that says nothing of it: Determined's defaults, where Determined has the method."""

from typing import Any

import pytest

from shared.config import parse_experiment

COMMON = {
    "metric": "loss",
    "smaller_is_better": True,
    "max_length": None,
    "goal": None,
    "patience": None,
    "on_failure": "worst",
    "points_to_evaluate": (),
}
HALVING = COMMON | {
    "max_time": 9,
    "time_metric": "epochs",
    "stop_once": None,
    "divisor": 4.0,
    "max_concurrent_trials": 16,
}
MODEL = {"initial_trials": 8, "initial_design": "sobol", "acquisition_function": "EI", "warm_start": None}
BRACKETS = {"max_rungs": 5, "bracket_rungs": ()}
TIME = "max_time: 9, time_metric: epochs"
DEFAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "single": ("", COMMON),
    "random": ("max_trials: 7", COMMON | {"max_trials": 7, "max_concurrent_trials": 16}),
    "grid": ("", COMMON | {"max_concurrent_trials": 16}),
    "async_halving": (f"max_trials: 7, num_rungs: 2, {TIME}", HALVING | {"max_trials": 7, "num_rungs": 2}),
    "asha": (f"max_trials: 7, num_rungs: 2, {TIME}", HALVING | {"max_trials": 7, "num_rungs": 2}),
    "adaptive_asha": (f"max_trials: 7, {TIME}", HALVING | BRACKETS | {"max_trials": 7, "mode": "standard"}),
    "hyperband": (TIME, HALVING | {"max_rungs": 5}),
    "bayesian": ("max_trials: 7", COMMON | MODEL | {"max_trials": 7, "max_concurrent_trials": 2}),
    "bayesian_asha": (
        f"max_trials: 7, {TIME}",
        HALVING | BRACKETS | MODEL | {"max_trials": 7, "mode": "aggressive", "judge_by": "metric"},
    ),
}
SPACE = "hyperparameters: {x: {type: double, minval: 0, maxval: 1, count: 2}}"


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_is_not_said_has_its_default(name: str) -> None:
    fields, expected = DEFAULTS[name]
    experiment = parse_experiment(f"entrypoint: x\nsearcher: {{name: {name}, metric: loss, {fields}}}\n{SPACE}")
    assert experiment.searcher.model_dump() == expected | {"name": name}


@pytest.mark.parametrize("name", DEFAULTS)
def test_null_is_as_good_as_saying_nothing(name: str) -> None:
    fields, _ = DEFAULTS[name]
    said = [f"name: {name}, metric: loss", *([fields] if fields else [])]
    texts = [
        f"entrypoint: x\nsearcher: {{{', '.join([*said, *nulls])}}}\n{SPACE}"
        for nulls in ([], ["max_length: null", "goal: null", "patience: null"])
    ]
    assert parse_experiment(texts[0]) == parse_experiment(texts[1])
