"""Which limits of a search can be changed while it runs, and what the search is afterwards."""

from collections.abc import Iterator
from typing import Any

from shared.config.experiment import Experiment
from shared.config.searcher import MAX_TRIALS
from shared.errors import Problem

#: Limit -> method -> why it is not for anybody to change.
_FIXED = {
    "max_trials": {
        "single": "a single search has one trial",
        "grid": "a grid search tries each of its points once",
        "hyperband": "hyperband's trials follow from its max_length or max_time, divisor and max_rungs",
    },
    "max_concurrent_trials": {"single": "a single search has one trial"},
}

Limits = dict[str, int | None]


def limit_problems(method: str, limits: Limits) -> Iterator[Problem]:
    """Yield a problem for each limit that a search of this method cannot be given; None is no limit to give."""
    for name, limit in limits.items():
        if limit is None:
            continue
        if fixed := _FIXED[name].get(method):
            yield Problem(name, f"cannot be changed: {fixed}")
        elif not 1 <= limit <= MAX_TRIALS:
            yield Problem(name, f"must be between 1 and {MAX_TRIALS:,}, found {limit:,}")


def with_limits(experiment: Experiment, limits: Limits) -> Experiment:
    """Return the experiment with other limits; one that its method cannot be given stays as it is."""
    searcher = experiment.searcher
    possible: dict[str, Any] = {
        name: limit
        for name, limit in limits.items()
        if limit is not None and not any(limit_problems(searcher.name, {name: limit}))
    }
    return experiment.model_copy(update={"searcher": searcher.model_copy(update=possible)})
