"""The single search: one trial; hyperparameters with a range are drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.searcher.method import Proposal, Result
from services.searcher.space import Space, sample
from shared.events import Origin, OriginKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """See SearchMethod."""

    space: Space
    seed: int
    num_trials: int = 1
    num_concurrent: int = 1
    learns: bool = False

    def propose(self, index: int, _results: Sequence[Result], _pending: Sequence[dict[str, Any]]) -> Proposal:
        """Return the only trial."""
        chosen = Origin(kind=OriginKind.ONLY)
        return Proposal(hyperparameters=sample(self.space, self.seed, index), origin="the only trial", chosen=chosen)
