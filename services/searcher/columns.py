"""Points of a space as the columns that a Gaussian process sees, and back.

A number becomes one column from 0 to 1, a categorical of more than two values a column for each of them. What is not
there, because another option was chosen, stands in the middle of its columns: known to be irrelevant, and the same for
all (J.-C. Lévesque, A. Durand, C. Gagné, R. Sabourin, Bayesian Optimization for Conditional Hyperparameter Spaces,
2017). A point has one place for each axis: a number, the position of a categorical's value, None if it is not there;
in arrays of places, not a number stands for None.

Legend of suffixes: M points, A axes, C columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.searcher.surrogate import Array

Point = list[int | float | None]
Option = tuple[int, int]  # a categorical axis, and the position of one of its values
Mask = NDArray[np.bool_]

ABSENT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: where it lies among the columns, and on which other axis's value it depends."""

    start: int
    width: int
    num_values: int  # of a categorical; 0: a number
    low: float
    high: float
    is_int: bool
    condition: Option | None  # an axis before this one, and its value

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.start, self.start + self.width)

    @property
    def is_number(self) -> bool:
        """Say whether it varies along one column."""
        return self.num_values == 0


class Columns:
    """The columns of a space."""

    def __init__(self, axes: Sequence[Mapping[str, Any]]) -> None:
        self.axes: list[Axis] = []
        self.width = 0
        for axis in axes:
            self.axes.append(_axis(axis, self.width))
            self.width += self.axes[-1].width

    def encode(self, points: Sequence[Point]) -> Array:
        """Return a row for each point. Raises TypeError, ValueError or LookupError when one is no point."""
        return self.encode_places(np.array(points, dtype=float).reshape(len(points), len(self.axes)))

    def encode_places(self, places_MA: Array) -> Array:
        """Return a row for each point."""
        rows = np.full((len(places_MA), self.width), ABSENT)
        for axis, places_M in zip(self.axes, places_MA.T, strict=True):
            there = ~np.isnan(places_M)
            rows[there, axis.columns] = _encoded(axis, places_M[there])
        return rows

    def decode_places(self, rows_MC: Array) -> Array:
        """Return the places of the points nearest to rows."""
        places = np.empty((len(rows_MC), len(self.axes)))
        for number, axis in enumerate(self.axes):
            places[:, number] = _decoded(axis, rows_MC[:, axis.columns])
        return self._conditioned(places)

    def decode(self, row_C: Array) -> Point:
        """Return the point nearest to a row."""
        places = self.decode_places(row_C[None])[0]
        return [_place(axis, float(place)) for axis, place in zip(self.axes, places, strict=True)]

    def snap(self, rows_MC: Array) -> Array:
        """Return rows moved onto points of the space: whole numbers, one value each, nothing that is not there."""
        return self.encode_places(self.decode_places(rows_MC))

    def random(self, num_rows: int, generator: np.random.Generator, option: Option | None = None) -> Array:
        """Return rows drawn at random, all values equally likely; or only such as have an option."""
        places = generator.random((num_rows, len(self.axes)))
        for number, axis in enumerate(self.axes):
            places[:, number] = _at(axis, places[:, number])
        while option is not None:  # and what it depends on
            places[:, option[0]] = option[1]
            option = self.axes[option[0]].condition
        return self.encode_places(self._conditioned(places))

    def has(self, rows_MC: Array, option: Option) -> Mask:
        """Say which rows have an option."""
        there: Mask = self.decode_places(rows_MC)[:, option[0]] == option[1]
        return there

    def others(self, row_C: Array) -> list[Option]:
        """Return what could have been chosen instead of what a row has, where something depends on the choice."""
        choices = {axis.condition[0] for axis in self.axes if axis.condition}
        places_A = self.decode_places(row_C[None])[0]
        return [
            (number, value)
            for number in sorted(choices)
            if not np.isnan(places_A[number])
            for value in range(self.axes[number].num_values)
            if value != places_A[number]
        ]

    def is_there(self, rows_MC: Array) -> Mask:
        """Return where rows hold numbers that are there."""
        there = np.zeros(rows_MC.shape, dtype=bool)
        for axis, places_M in zip(self.axes, self.decode_places(rows_MC).T, strict=True):
            if axis.is_number:
                there[:, axis.start] = ~np.isnan(places_M)
        return there

    def changes(self, row_C: Array) -> Array:
        """Return the points that differ from a row by another value, or by the next whole number, along one axis."""
        places_A = self.decode_places(row_C[None])[0]
        changed = [np.empty((0, len(self.axes)))]
        for number, axis in enumerate(self.axes):
            others = _others(axis, float(places_A[number]))
            variants = np.tile(places_A, (len(others), 1))
            variants[:, number] = others
            changed.append(variants)
        rows = self.encode_places(np.vstack(changed))
        return self.snap(rows)

    def _conditioned(self, places_MA: Array) -> Array:
        for number, axis in enumerate(self.axes):
            if axis.condition:
                other, value = axis.condition
                places_MA[places_MA[:, other] != value, number] = np.nan
        return places_MA


def _axis(axis: Mapping[str, Any], start: int) -> Axis:
    num_values, condition = axis.get("num_values", 0), axis.get("condition")
    return Axis(
        start=start,
        width=num_values if num_values > 2 else 1,
        num_values=num_values,
        low=float(axis.get("low", 0)),
        high=float(axis.get("high", 1)),
        is_int=axis["type"] == "int",
        condition=None if condition is None else (condition[0], condition[1]),
    )


def _encoded(axis: Axis, places_M: Array) -> Array:
    if axis.is_number:
        cells: Array = (places_M[:, None] - axis.low) / ((axis.high - axis.low) or 1.0)
        return cells
    return places_M[:, None] if axis.num_values <= 2 else np.eye(axis.num_values)[places_M.astype(int)]


def _decoded(axis: Axis, cells_MC: Array) -> Array:
    if axis.is_number:
        return _numbers(axis, cells_MC[:, 0])
    chosen = cells_MC.argmax(1) if axis.num_values > 2 else (cells_MC[:, 0] > ABSENT).astype(int)
    positions: Array = np.minimum(chosen, axis.num_values - 1).astype(float)
    return positions


def _numbers(axis: Axis, units_M: Array) -> Array:
    places = axis.low + np.clip(units_M, 0.0, 1.0) * (axis.high - axis.low)
    rounded: Array = np.clip(np.rint(places) if axis.is_int else places, axis.low, axis.high)
    return rounded


def _at(axis: Axis, units_M: Array) -> Array:
    """Return the places at quantiles."""
    if not axis.is_number:
        positions: Array = np.minimum(axis.num_values - 1, np.floor(units_M * axis.num_values))
        return positions
    span = axis.high - axis.low
    return _numbers(axis, (units_M * (span + 1.0) - 0.5) / max(1.0, span) if axis.is_int else units_M)


def _place(axis: Axis, place: float) -> int | float | None:
    if np.isnan(place):
        return None
    return place if axis.is_number and not axis.is_int else int(place)


def _others(axis: Axis, place: float) -> list[float]:
    if np.isnan(place):
        return []
    if not axis.is_number:
        return [other for other in range(axis.num_values) if other != place]
    return [other for other in (place - 1, place + 1) if axis.is_int and axis.low <= other <= axis.high]
