"""One rung: who has come, by which costs, who was promoted, and what a judgement there goes by."""

import math
from dataclasses import dataclass, field

import msgspec


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a judgement at `rung` went by: the trial's place among those entered, from 0, and how many of them go on.
    `threshold` is the cost of the last of those, None where there is none."""

    rung: int
    place: int
    num_entered: int
    num_kept: int
    cost: float
    threshold: float | None


@dataclass(slots=True, kw_only=True)
class Rung:
    """The trials that came as far as this: costs and indices, best first; and which of them were promoted.

    `num_missing` were to come, and left without counting. `num_gone` have come, and were dropped before the rung could
    have entries again.
    """

    entries: list[tuple[float, int]] = field(default_factory=list)
    promoted: set[int] = field(default_factory=set)
    num_missing: int = 0
    num_gone: int = 0

    @property
    def num_entered(self) -> int:
        """How many have come."""
        return len(self.entries) + self.num_gone

    def num_kept(self, divisor: float) -> int:
        """Return how many of those that have come go on."""
        return int(self.num_entered / divisor)

    def withdraw(self, index: int) -> None:
        """A trial has not come, after all."""
        self.entries[:] = [entry for entry in self.entries if entry[1] != index]

    def clear(self) -> None:
        """Take those away who were dropped: they have no place among the best. Who failed has, behind the others."""
        before = len(self.entries)
        self.entries[:] = [(cost, index) for cost, index in self.entries if index in self.promoted or math.isinf(cost)]
        self.num_gone += before - len(self.entries)

    def verdict(self, level: int, place: int, num_kept: int) -> Verdict:
        """Return a judgement by which the best so many go on."""
        return Verdict(
            rung=level,
            place=place,
            num_entered=self.num_entered,
            num_kept=num_kept,
            cost=self.entries[place][0],
            threshold=self.entries[num_kept - 1][0] if num_kept else None,
        )
