"""What a search with a model has learned, and from which part of it each of the next trials is proposed.

A proposal must not depend on how fast it is computed, or on how many others are asked for beside it. So the log settles
what it follows from: as soon as there is room for a trial (or for one a few places before it, so that its proposal can
be there in time), it is noted how many results there are. Pending for it are the trials before it that have none of
these. The same events give the same proposals, whoever computes them, and whenever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.searcher.method import Result

Hyperparameters = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """From how many results a trial is proposed, and the sequence of the event that settled it."""

    num_results: int
    seq: int


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """The results in the order of the log, and what was settled about the next trials, by their indices."""

    results: list[Result] = field(default_factory=list)
    settled: dict[int, Settled] = field(default_factory=dict)

    def knows(self, index: int) -> bool:
        """Say whether there is a result of a trial."""
        return any(result.index == index for result in reversed(self.results))

    def settle(self, first: int, last: int, seq: int) -> None:
        """There is room for these trials now, if there was none before."""
        for index in range(first, last + 1):
            if index not in self.settled:
                self.settled[index] = Settled(num_results=len(self.results), seq=seq)

    def unsettle(self) -> None:
        """Another trial takes the next place: what comes after it must know of it."""
        self.settled.clear()

    def requested(self, index: int) -> None:
        """A trial needs no proposal any more."""
        self.settled.pop(index, None)

    def of(
        self, index: int, open_trials: Mapping[int, Hyperparameters], ahead: Mapping[int, Hyperparameters]
    ) -> tuple[Sequence[Result], Sequence[Hyperparameters]]:
        """Return the results that a trial is proposed from, and the hyperparameters of those pending then.

        `ahead` are the trials before it that are proposed and not requested yet.
        """
        num_results = self.settled[index].num_results
        results, later = self.results[:num_results], self.results[num_results:]
        observed = {result.index for result in results}
        pending = {result.index: result.hyperparameters for result in later} | {**open_trials, **ahead}
        return results, [pending[number] for number in sorted(pending.keys() - observed)]
