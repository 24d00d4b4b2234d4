"""Finds the point of a space where an acquisition function is largest.

Many random points and neighbours of the best known ones are looked at; from the most promising a gradient climbs
along the numbers that are there, all climbs in one go; what comes of them is moved onto points of the space, and the
best of these is improved by changing one axis at a time: another value, the next whole number.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from services.searcher.acquisition import Acquisition
from services.searcher.columns import Columns, Option, Point
from services.searcher.surrogate import Array

MAX_CELLS = 400_000  # of the covariances between candidates and points of the model
MIN_CANDIDATES, MAX_CANDIDATES = 200, 1500
NUM_INCUMBENTS = 5
STEPS = (0.3, 0.1, 0.03, 0.01, 0.002)  # how far neighbours lie from an incumbent, as standard deviations
NUM_CLIMBS = 6
MAX_CLIMB_ITERATIONS = 40
MAX_ROUNDS = 3
SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """What is searched: the columns of the space, and those that are the same for every candidate, behind them.

    With an `option`, only points that have it are looked at.
    """

    columns: Columns
    fixed: Array
    option: Option | None = None

    def extended(self, rows: Array) -> Array:
        """Return rows of the space with the fixed columns behind them."""
        return np.hstack([rows, np.tile(self.fixed, (len(rows), 1))])

    def admitted(self, rows: Array) -> Array:
        """Return those of some rows that have the option."""
        return rows if self.option is None or not len(rows) else rows[self.columns.has(rows, self.option)]


def maximise(
    acquisition: Acquisition, landscape: Landscape, known: Array, incumbents: Array, generator: np.random.Generator
) -> tuple[Point, float]:
    """Return the best point found that is not among the known ones, and its value.

    `incumbents` are the most promising of the known points. A known point is returned only where there is no other.
    """
    columns = landscape.columns
    num_random = min(MAX_CANDIDATES, max(MIN_CANDIDATES, MAX_CELLS // max(1, len(known))))
    near = np.empty((0, columns.width))
    if len(incumbents := landscape.admitted(incumbents)):
        near = landscape.admitted(_neighbours(columns, incumbents[:NUM_INCUMBENTS], num_random // 2, generator))
    candidates = np.vstack([columns.random(num_random - len(near), generator, landscape.option), near])
    values = acquisition(landscape.extended(candidates))
    starts = candidates[_distinct_best(candidates, values, NUM_CLIMBS)]
    climbed = columns.snap(_climb(acquisition, landscape, starts))
    rows = _unknown(np.vstack([climbed, starts]), known)
    if not len(rows):
        rows = _unknown(candidates, known)
    if not len(rows):
        rows = candidates[np.argsort(-values, kind="stable")[:1]]
    values = acquisition(landscape.extended(rows))
    best = int(np.argmax(values))
    row, value = _improve(acquisition, landscape, known, rows[best], float(values[best]))
    return columns.decode(row), value


def _neighbours(columns: Columns, incumbents: Array, num_rows: int, generator: np.random.Generator) -> Array:
    """Return points near the incumbents; each differs along about half of the columns, at least along one."""
    which = np.arange(num_rows) % len(incumbents)
    steps = np.array(STEPS)[np.arange(num_rows) // len(incumbents) % len(STEPS)]
    shape = (num_rows, columns.width)
    moves = generator.standard_normal(shape) * steps[:, None]
    moved = generator.random(shape) < 0.5
    moved[np.arange(num_rows), generator.integers(columns.width, size=num_rows)] = True
    rows = incumbents[which] + np.where(moved, moves, 0.0)
    for axis in columns.axes:
        if not axis.is_number:
            changed = generator.random(num_rows) < 0.2
            rows[changed, axis.columns] = generator.random((int(changed.sum()), axis.width))
    return columns.snap(rows)


def _distinct_best(candidates: Array, values: Array, num_rows: int) -> list[int]:
    """Return the positions of the best candidates, none of which lies close to a better one."""
    chosen: list[int] = []
    for position in np.argsort(-values, kind="stable")[:200]:
        apart = [np.abs(candidates[position] - candidates[other]).max() for other in chosen]
        if not apart or min(apart) > 0.02:
            chosen.append(int(position))
        if len(chosen) == num_rows:
            break
    return chosen


def _climb(acquisition: Acquisition, landscape: Landscape, starts: Array) -> Array:
    """Return where gradients lead from the starts. What is no number, or is not there, stays as it is."""
    there = landscape.columns.is_there(starts)
    if not there.any():
        return starts
    places = np.nonzero(there)

    def downhill(flat: Array) -> tuple[float, Array]:
        rows = starts.copy()
        rows[places] = flat
        values, gradient = acquisition.with_gradient(landscape.extended(rows))
        return -float(values.sum()), -gradient[places]

    flat = starts[places]
    found = minimize(
        downhill,
        flat,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * len(flat),
        options={"maxiter": MAX_CLIMB_ITERATIONS, "ftol": 1e-9, "maxcor": 20},
    )
    rows = starts.copy()
    rows[places] = found.x
    return rows


def _unknown(rows: Array, known: Array) -> Array:
    """Return those rows that are not among the known ones."""
    if not len(known):
        return rows
    nearest = np.abs(rows[:, None, :] - known[None, :, :]).max(2).min(1)
    unknown: Array = rows[nearest > SAME]
    return unknown


def _improve(
    acquisition: Acquisition, landscape: Landscape, known: Array, row: Array, value: float
) -> tuple[Array, float]:
    """Change one axis at a time, as long as that is an improvement."""
    for _ in range(MAX_ROUNDS):
        changed = landscape.admitted(landscape.columns.changes(row))
        changed = _unknown(changed, known) if len(changed) else changed
        if not len(changed):
            break
        values = acquisition(landscape.extended(changed))
        best = int(np.argmax(values))
        if values[best] <= value:
            break
        row, value = changed[best], float(values[best])
    return row, value
