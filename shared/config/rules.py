"""Rules between fields. They look at the raw document, so that they are told together with every other mistake.

A field of the wrong type is not their business: the types complain about it themselves.
"""

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from shared.config.problems import Path, path_text
from shared.config.searcher import MAX_TRIALS, HyperbandSearch, MaxLength
from shared.config.training_rules import TRAINING_RULES
from shared.errors import Problem

_RANGES = ("int", "double", "log")


def broken_rules(document: dict[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each rule that the document breaks."""
    for rule in _RULES:
        yield from rule(document)


def _ranges_are_ranges(document: dict[str, Any]) -> Iterator[Problem]:
    for path, hyperparameter in _hyperparameters(document):
        minval, maxval = _number(hyperparameter, "minval"), _number(hyperparameter, "maxval")
        if minval is not None and maxval is not None and minval >= maxval:
            yield Problem(path_text((*path, "maxval")), f"must be more than minval {minval}, found {maxval}")
        elif hyperparameter["type"] == "log":
            yield from _log_is_finite(path, hyperparameter, minval, maxval)
        elif hyperparameter["type"] == "double" and minval is not None and maxval is not None:
            yield from _double_is_finite(path, hyperparameter, minval, maxval)


def _double_is_finite(path: Path, hyperparameter: dict[str, Any], minval: float, maxval: float) -> Iterator[Problem]:
    """Both ends are numbers, and what lies between may be more than the largest: no value could be found there."""
    steps = max(1.0, (_number(hyperparameter, "count") or 1) - 1)
    if not math.isfinite((float(maxval) - float(minval)) * steps):
        message = f"is too far from minval {minval:g}: what lies between is no number any more"
        mend = "type log, whose minval and maxval are exponents, covers many orders of magnitude"
        yield Problem(path_text((*path, "maxval")), message, mend)


def _log_is_finite(
    path: Path, hyperparameter: dict[str, Any], minval: float | None, maxval: float | None
) -> Iterator[Problem]:
    base = 10.0 if hyperparameter.get("base") is None else _number(hyperparameter, "base")
    if base is None or base <= 0 or minval is None or maxval is None:
        return
    if base == 1:
        yield Problem(path_text((*path, "base")), "must not be 1, whose powers are all the same")
    for name, exponent in (("minval", minval), ("maxval", maxval)):
        if abs(exponent * math.log(base)) > 700:
            yield Problem(
                path_text((*path, name)),
                f"is an exponent, and {base:g} to the power {exponent:g} is no usable number",
                "for values from 1e-4 to 1e-1 write minval: -4, maxval: -1",
            )


def _choices_leave_room_for_their_name(document: dict[str, Any]) -> Iterator[Problem]:
    for path, choice in _hyperparameters(document, ("choice",)):
        for option, group in _mapping(choice.get("options")).items():
            if "name" in _mapping(group):
                where = path_text((*path, "options", option, "name"))
                yield Problem(where, "is taken: a trial finds there which option was chosen", "call it something else")


def _grid_has_counts(document: dict[str, Any]) -> Iterator[Problem]:
    if _searcher(document).get("name") != "grid":
        return
    for path, hyperparameter in _hyperparameters(document):
        if hyperparameter.get("count") is None:
            yield Problem(
                path_text((*path, "count")), "is required in a grid search", "how many points along this axis"
            )
    num_points = _num_points(document.get("hyperparameters"))
    if num_points > MAX_TRIALS:
        yield Problem("hyperparameters", f"make a grid of {num_points:,} trials; at most {MAX_TRIALS:,} are possible")


def _num_points(value: object) -> int:
    """Return the size of the grid over a part of the space, as far as it can be told."""
    if not isinstance(value, dict):
        return 1
    match value.get("type"):
        case "choice":
            return max(1, sum(map(_num_points, _mapping(value.get("options")).values())))
        case "int" | "double" | "log" | "categorical":
            return _axis_length(value)
        case str():
            return 1
    return math.prod(map(_num_points, value.values()))


def _axis_length(hyperparameter: dict[str, Any]) -> int:
    if hyperparameter["type"] == "categorical":
        values = hyperparameter.get("vals")
        return max(1, len(values)) if isinstance(values, list) else 1
    count = hyperparameter.get("count")
    length = count if isinstance(count, int) else 1
    minval, maxval = _number(hyperparameter, "minval"), _number(hyperparameter, "maxval")
    if hyperparameter["type"] == "int" and minval is not None and maxval is not None:
        length = min(length, int(maxval - minval) + 1)
    return max(1, length)


def _bayesian_has_a_space(document: dict[str, Any]) -> Iterator[Problem]:
    if _searcher(document).get("name") not in ("bayesian", "bayesian_asha") or not isinstance(
        document.get("hyperparameters", {}), dict
    ):
        return
    if not any(True for _ in _hyperparameters(document, (*_RANGES, "categorical", "choice"))):
        yield Problem(
            "hyperparameters",
            "hold nothing to search",
            "a search with a model needs at least one hyperparameter of type categorical, choice, int, double or log",
        )


def _max_length_has_one_unit(document: dict[str, Any]) -> Iterator[Problem]:
    length = _searcher(document).get("max_length")
    if isinstance(length, dict) and set(length) <= set(MaxLength.model_fields):
        given = [unit for unit in MaxLength.model_fields if length.get(unit) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            yield Problem("searcher.max_length", f"must have exactly one of batches, epochs and records, found {found}")


def _halving_has_one_measure(document: dict[str, Any]) -> Iterator[Problem]:
    search = _searcher(document)
    if search.get("name") not in ("async_halving", "asha", "adaptive_asha", "bayesian_asha", "hyperband"):
        return
    given = {key for key in ("max_length", "max_time", "time_metric", "stop_once") if search.get(key) is not None}
    if "max_length" in given:
        for key in sorted(given & {"max_time", "time_metric"}):
            suggestion = "leave out max_length, or max_time and time_metric"
            yield Problem(f"searcher.{key}", "cannot be given together with max_length", suggestion)
    elif not given & {"max_time", "time_metric"}:
        suggestion = "max_length: {batches: 1000}, or max_time: 1000 and time_metric: batches"
        yield Problem("searcher", "does not say how far a trial trains", suggestion)
    else:
        for key in sorted({"max_time", "time_metric"} - given):
            yield Problem(f"searcher.{key}", "is required: max_time and time_metric go together")
        if "stop_once" in given:
            yield Problem("searcher.stop_once", "belongs to max_length; with max_time trials are always stopped once")


def _brackets_fit(document: dict[str, Any]) -> Iterator[Problem]:
    search = _searcher(document)
    rungs, max_trials = search.get("bracket_rungs"), search.get("max_trials")
    if (
        search.get("name") not in ("adaptive_asha", "bayesian_asha")
        or not isinstance(rungs, list)
        or type(max_trials) is not int
    ):
        return
    if len(rungs) > max_trials > 0:
        yield Problem("searcher.bracket_rungs", f"has {len(rungs)} brackets for {max_trials} trials")


def _retry_has_trials_left(document: dict[str, Any]) -> Iterator[Problem]:
    search = _searcher(document)
    if search.get("on_failure") == "retry" and search.get("name") in ("single", "grid"):
        message = f"retry takes one more trial for a configuration that failed; a {search['name']} search has none left"
        yield Problem("searcher.on_failure", message, "raise max_restarts instead")


def _hyperband_has_few_trials(document: dict[str, Any]) -> Iterator[Problem]:
    search = _searcher(document)
    if search.get("name") != "hyperband":
        return
    try:
        num_trials = HyperbandSearch.model_validate(search).max_trials
    except (ValidationError, StopIteration):  # of which the types, or the rule on max_length, complain
        return
    if num_trials > MAX_TRIALS:
        message = f"make a search of {num_trials:,} trials; at most {MAX_TRIALS:,} are possible"
        yield Problem("searcher.max_rungs", message)


def _max_slots_hold_a_trial(document: dict[str, Any]) -> Iterator[Problem]:
    resources = _mapping(document.get("resources"))
    slots, limit = resources.get("slots_per_trial", 1), resources.get("max_slots")
    if type(slots) is int and type(limit) is int and 0 < limit < slots:
        message = f"{limit} is less than slots_per_trial {slots}: no trial could ever start"
        yield Problem("resources.max_slots", message, f"write at least {slots}")


_RULES: tuple[Callable[[dict[str, Any]], Iterator[Problem]], ...] = (
    _ranges_are_ranges,
    _choices_leave_room_for_their_name,
    _grid_has_counts,
    _bayesian_has_a_space,
    _max_length_has_one_unit,
    _halving_has_one_measure,
    _brackets_fit,
    _retry_has_trials_left,
    _hyperband_has_few_trials,
    *TRAINING_RULES,
    _max_slots_hold_a_trial,
)


def _hyperparameters(
    document: dict[str, Any], types: tuple[str, ...] = _RANGES
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the hyperparameters of the given types, at any depth, in the order of the file."""
    pending: list[tuple[Path, Any]] = [(("hyperparameters",), document.get("hyperparameters"))]
    while pending:
        path, value = pending.pop()
        if not isinstance(value, dict):
            continue
        if len(path) > 1 and isinstance(value.get("type"), str):
            if value["type"] in types:
                yield path, value
            if value["type"] == "choice":
                options = _mapping(value.get("options"))
                pending += [((*path, "options", key), item) for key, item in reversed(options.items())]
        else:
            pending += [((*path, key), item) for key, item in reversed(value.items())]


def _searcher(document: dict[str, Any]) -> dict[str, Any]:
    return _mapping(document.get("searcher"))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(mapping: dict[str, Any], key: str) -> float | None:
    """Return a number that a float can hold, None of anything else."""
    value, most = mapping.get(key), sys.float_info.max
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if -most <= value <= most else None
