"""The grid search: every combination once. Axes are ordered by name, and the last one turns fastest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.searcher.method import Proposal, Result
from services.searcher.space import Path, Space, axes, fill, grid_value
from shared.events import Origin, OriginKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """See SearchMethod."""

    space: Space
    num_trials: int
    num_concurrent: int
    learns: bool = False

    def propose(self, index: int, _results: Sequence[Result], _pending: Sequence[dict[str, Any]]) -> Proposal:
        """Return point `index` of the grid, without laying out the others."""
        rest = index - 1
        values: dict[Path, Any] = {}
        for axis in reversed(list(axes(self.space))):
            rest, number = divmod(rest, axis.range.num_points)
            values[axis.path] = grid_value(axis.range, number)
        return Proposal(
            hyperparameters=fill(self.space, values),
            origin=f"grid point {index} of {self.num_trials}",
            chosen=Origin(kind=OriginKind.GRID, number=index, of=self.num_trials),
        )
