"""Why each waiting trial waits: pure, computed when somebody asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A trial that waits, in the order of service."""

    slots: int
    pool: str
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The slots of a pool's agents that are up: all, and those that nobody holds."""

    num_slots: int
    num_free: int


NOTHING = Capacity(num_slots=0, num_free=0)


def reasons(queue: Sequence[Waiting], capacities: Mapping[str, Capacity]) -> list[str]:
    """Return for each waiting trial what it waits for; paused ones hold nobody up."""
    ahead: dict[str, int] = {}
    said = []
    for trial in queue:
        said.append(_reason(trial, capacities.get(trial.pool, NOTHING), ahead.get(trial.pool, 0)))
        if not trial.is_paused:
            ahead[trial.pool] = ahead.get(trial.pool, 0) + 1
    return said


def _reason(trial: Waiting, capacity: Capacity, num_ahead: int) -> str:
    needs = f"needs {_slots(trial.slots)}"
    if trial.is_paused:
        return "experiment is paused"
    if capacity.num_slots == 0:
        return f"{needs}; pool {trial.pool} has no agent"
    if trial.slots > capacity.num_slots:
        return f"{needs}; pool {trial.pool} has {capacity.num_slots} in all: add agents or lower slots_per_trial"
    if num_ahead:
        return f"{needs}; {num_ahead} {'trial is' if num_ahead == 1 else 'trials are'} ahead of it"
    if trial.slots > capacity.num_free:
        return f"{needs}; {capacity.num_free} of {capacity.num_slots} are free in pool {trial.pool}"
    return "next in line"


def _slots(number: int) -> str:
    return "1 slot" if number == 1 else f"{number} slots"
