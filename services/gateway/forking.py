"""Experiments made of others: the file of one with some of it changed, or one trial of it trained on. Pure."""

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from services.gateway.views.trials import Trial
from shared.errors import Problem, Rejected

MAX_CHANGES = 100

_WARM_START = "searcher.warm_start"
_GOAL = ("metric", "smaller_is_better")


def forked(config: dict[str, Any], checkpoint_id: str | None, changes: Mapping[str, object]) -> dict[str, Any]:
    """Return an experiment's file with values at dotted paths (`searcher.max_trials`) in place of what is there, whose
    trials start from a checkpoint, if one is given. What it learnt from others is taken as it is recorded; unless the
    changes are about that, they are not read again. Raises Rejected with every path that leads nowhere, and when what
    it learnt is about another goal."""
    made = copy.deepcopy(config)
    if checkpoint_id is not None:
        made["resume_from"] = checkpoint_id
    problems = [problem for path, value in changes.items() if (problem := _set(made, path, value)) is not None]
    if not problems and not any(_is_about(path, _WARM_START) for path in changes):
        problems += _take_over_warm_start(made["searcher"], config["searcher"])
    if problems:
        raise Rejected("the fork cannot be made", tuple(problems))
    return made


def continued(config: dict[str, Any], trial: Trial) -> dict[str, Any]:
    """Return the file of an experiment that trains one trial of another on: a single search, its hyperparameters fixed,
    from its newest checkpoint."""
    from shared.config.searcher import SingleSearch  # pydantic is 20 MB that an idle gateway does not need

    kept = {name: value for name, value in config["searcher"].items() if name in SingleSearch.model_fields}
    values = msgspec.json.decode(trial.hyperparameters, type=dict[str, Any])
    return config | {
        "searcher": kept | {"name": "single", "points_to_evaluate": []},
        "hyperparameters": {name: _fixed(value) for name, value in values.items()},
        "resume_from": trial.latest_checkpoint_id,
    }


def _is_about(path: str, other: str) -> bool:
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")


def _take_over_warm_start(searcher: dict[str, Any], before: dict[str, Any]) -> list[Problem]:
    warm_start = searcher.get("warm_start")
    if not warm_start or not warm_start["observations"]:
        return []
    warm_start["experiments"] = []
    if all(searcher[name] == before[name] for name in _GOAL):
        return []
    message = f"what it has learnt is about {before['metric']}, of which {_better(before)} is better"
    return [Problem(_WARM_START, message, f"set {_WARM_START} too: null, or others")]


def _better(searcher: dict[str, Any]) -> str:
    return "smaller" if searcher["smaller_is_better"] else "larger"


def _fixed(value: object) -> object:
    if isinstance(value, dict):
        return {name: _fixed(inner) for name, inner in value.items()}
    return {"type": "const", "val": value}


def _set(config: dict[str, Any], path: str, value: object) -> Problem | None:
    *parents, last = path.split(".")
    inner: object = config
    for name in parents:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if not isinstance(inner, dict):
        return Problem(path[:200], "leads nowhere", "name a value of the file, its sections before it, joined by dots")
    inner[last] = value
    return None
