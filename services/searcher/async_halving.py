"""Asynchronous successive halving (ASHA): trials drawn at random, of which few train far.

Theory: Li et al., 2018, arXiv 1810.05934; services.searcher.rungs has the rules and maps the symbols. This file draws
the trials and lays out one bracket; adaptive_asha.py lays out several.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.searcher.method import BracketPlan, Proposal, Result
from services.searcher.space import Space, sample
from shared.events import Origin, OriginKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncHalving:
    """See SearchMethod. How far each trial goes is decided on its way, by the rungs of these brackets."""

    space: Space
    seed: int
    brackets: tuple[BracketPlan, ...]
    learns: bool = False

    @property
    def num_trials(self) -> int:
        """Those of all brackets."""
        return sum(bracket.num_trials for bracket in self.brackets)

    @property
    def num_concurrent(self) -> int:
        """Those of all brackets."""
        return sum(bracket.num_concurrent for bracket in self.brackets)

    def propose(self, index: int, _results: Sequence[Result], _pending: Sequence[dict[str, Any]]) -> Proposal:
        """Return trial `index`."""
        origin = f"random draw {index} of {self.num_trials}"
        chosen = Origin(kind=OriginKind.RANDOM, number=index, of=self.num_trials)
        return Proposal(hyperparameters=sample(self.space, self.seed, index), origin=origin, chosen=chosen)


def bracket_plan(
    *, num_units: int, divisor: float, num_rungs: int, num_trials: int, max_concurrent_trials: int
) -> BracketPlan:
    """Return one bracket: each rung has `divisor` times the units of the one before, the last has all of them.

    `max_concurrent_trials` 0 means as many as it takes for one of them to reach the top.
    """
    steps_to_the_top = range(num_rungs - 1, -1, -1)
    num_concurrent = max_concurrent_trials or int(divisor ** (num_rungs - 1))
    return BracketPlan(
        units=tuple(max(1, int(num_units / divisor**steps)) for steps in steps_to_the_top),
        num_trials=num_trials,
        num_concurrent=max(1, min(num_concurrent, num_trials)),
    )
