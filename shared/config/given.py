"""Hyperparameters that somebody gives, held against a space: in the experiment file, or from another experiment."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, assert_never

from shared.config.hyperparameters import Categorical, Choice, Const, Double, Hyperparameter, Int, Log, Nested
from shared.config.problems import Path, nearest, path_text
from shared.errors import Problem

#: A logarithm and its power are not exact.
LOG_TOLERANCE = 1e-9


def misfits(space: Mapping[str, Hyperparameter], given: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Yield a problem for each given hyperparameter that a space does not have; those that are missing are no fault."""
    for name, value in given.items():
        at = (*path, name)
        if name in space:
            yield from _misfits(space[name], value, at)
        else:
            yield Problem(path_text(at), "is no hyperparameter of this experiment", nearest(name, space))


def _misfits(hyperparameter: Hyperparameter, value: Any, path: Path) -> Iterator[Problem]:
    match hyperparameter:
        case Nested() | Choice() if not isinstance(value, Mapping):
            yield Problem(path_text(path), f"must be a mapping, found {value!r}"[:200])
        case Nested():
            yield from misfits(hyperparameter.root, value, path)
        case Choice():
            yield from _choice_misfits(hyperparameter, value, path)
        case _:
            if wanted := _wanted(hyperparameter, value):
                yield Problem(path_text(path), f"must be {wanted}, found {value!r}"[:200])


def _choice_misfits(choice: Choice, value: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    option = value.get("name")
    if not isinstance(option, str) or option not in choice.options:
        yield Problem(path_text((*path, "name")), f"must be one of {', '.join(sorted(choice.options))}")
        return
    yield from misfits(choice.options[option], {name: value[name] for name in value if name != "name"}, path)


def _wanted(hyperparameter: Const | Categorical | Int | Double | Log, value: Any) -> str | None:
    """Return what is wanted instead of a value, None if it fits."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    match hyperparameter:
        case Const():
            return None if _same(value, hyperparameter.val) else f"{hyperparameter.val!r}"
        case Categorical():
            values = hyperparameter.vals
            return None if any(_same(value, one) for one in values) else "one of " + ", ".join(map(repr, values))
        case Int():
            low, high = hyperparameter.minval, hyperparameter.maxval
            fits = type(value) is int and low <= value <= high
            return None if fits else f"a whole number from {low} to {high}"
        case Double():
            fits = is_number and hyperparameter.minval <= value <= hyperparameter.maxval
            return None if fits else f"a number from {hyperparameter.minval} to {hyperparameter.maxval}"
        case Log():
            ends = sorted(hyperparameter.base**exponent for exponent in (hyperparameter.minval, hyperparameter.maxval))
            fits = is_number and ends[0] * (1 - LOG_TOLERANCE) <= value <= ends[1] * (1 + LOG_TOLERANCE)
            return None if fits else f"a number from {ends[0]:g} to {ends[1]:g}"
        case _:
            assert_never(hyperparameter)


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON, which tells 1, 1.0 and true apart."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
