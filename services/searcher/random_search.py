"""The random search: each trial is drawn from the seed and its own index, whatever came of the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.searcher.method import Proposal, Result
from services.searcher.space import Space, sample
from shared.events import Origin, OriginKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """See SearchMethod."""

    space: Space
    seed: int
    num_trials: int
    num_concurrent: int
    learns: bool = False

    def propose(self, index: int, _results: Sequence[Result], _pending: Sequence[dict[str, Any]]) -> Proposal:
        """Return trial `index`."""
        origin = f"random draw {index} of {self.num_trials}"
        chosen = Origin(kind=OriginKind.RANDOM, number=index, of=self.num_trials)
        return Proposal(hyperparameters=sample(self.space, self.seed, index), origin=origin, chosen=chosen)
