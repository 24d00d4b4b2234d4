"""Whether a gang could ever fit a pool: what the scheduler's fitting comes to when every slot is free.

The gateway refuses at submission what the scheduler could never place, by this very rule; a property test holds it to
the scheduler's fitting.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class AgentSize(NamedTuple):
    """What an agent offers when nothing runs there."""

    slots: int
    kind: str
    zero_slot_limit: int


def can_hold(slots: int, agents: Iterable[AgentSize], *, heterogeneous_fits: bool) -> bool:
    """Say whether a gang of so many slots fits on these agents, all idle.

    On one agent; else on whole agents of equal size and kind; else, where the pool allows it, greedily on the largest
    agents of one kind. A task without slots needs an agent that takes such tasks.
    """
    sizes = Counter((agent.slots, agent.kind) for agent in agents if slots or agent.zero_slot_limit)
    if any(size >= slots for size, _ in sizes):
        return True
    if any(size and slots % size == 0 and count * size >= slots for (size, _), count in sizes.items()):
        return True
    return heterogeneous_fits and any(_fits_unequal(slots, kind, sizes) for kind in {kind for _, kind in sizes})


def _fits_unequal(slots: int, kind: str, sizes: Counter[tuple[int, str]]) -> bool:
    missing = slots
    for (size, of_kind), count in sorted(sizes.items(), reverse=True):
        if of_kind == kind and size:
            missing -= size * min(count, missing // size)
    return missing == 0


def nearest_below(slots: int, agents: Iterable[AgentSize], *, heterogeneous_fits: bool) -> int | None:
    """Return the largest smaller gang that fits, or None."""
    known = list(agents)
    for smaller in range(min(slots, sum(agent.slots for agent in known) + 1) - 1, 0, -1):
        if can_hold(smaller, known, heterogeneous_fits=heterogeneous_fits):
            return smaller
    return None
