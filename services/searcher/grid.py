"""The grid search: every combination once. Axes are ordered by name, and the last one turns fastest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.searcher.method import Proposal, Result
from services.searcher.space import Path, Space, fill, grid_value
from shared.config.hyperparameters import Choice, Const, Nested, num_grid_points
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
        values: dict[Path, Any] = {}
        _place(self.space, index - 1, (), values)
        return Proposal(
            hyperparameters=fill(self.space, values),
            origin=f"grid point {index} of {self.num_trials}",
            chosen=Origin(kind=OriginKind.GRID, number=index, of=self.num_trials),
        )


def _place(space: Space, number: int, path: Path, values: dict[Path, Any]) -> None:
    """Note the values of point `number` of a group's grid, counted from 0."""
    for name, hyperparameter in sorted(space.items(), reverse=True):
        number, here = divmod(number, hyperparameter.num_points)
        within = (*path, name)
        match hyperparameter:
            case Const():
                pass
            case Nested():
                _place(hyperparameter.root, here, within, values)
            case Choice():
                _place_choice(hyperparameter, here, within, values)
            case _:
                values[within] = grid_value(hyperparameter, here)


def _place_choice(choice: Choice, number: int, path: Path, values: dict[Path, Any]) -> None:
    """The options' grids follow each other, in the order of their names."""
    for option, group in sorted(choice.options.items()):
        size = num_grid_points(group)
        if number < size:
            values[path] = option
            _place(group, number, (*path, option), values)
            return
        number -= size
