"""Costs made fit for a Gaussian process: mean 0, variance 1, and on the scale on which they look most like one.

A cost that spans orders of magnitude looks like a cliff and a plain; its logarithm, measured from just below the best,
looks like a slope. How far below is chosen by evidence, with the plain cost among the candidates: a warped Gaussian
process (E. Snelson, C. E. Rasmussen, Z. Ghahramani, Warped Gaussian Processes, 2003).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.searcher.surrogate import Array

#: How far below the best cost the logarithm's zero lies, in units of the distance from the best to the median.
OFFSETS = (0.01, 0.1, 1.0)

MIN_WARPED = 6  # of fewer costs nobody can tell a scale
MAX_EXPONENT = 300.0
MIN_UNIT = 1e-9  # of the distance from the best to the worst
#: Below this, and above, floating point has no room for what is computed from it: squares, and sums of them.
SMALLEST = 1e-200
LARGEST = 1e100


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """A scale for costs: plain (no offset), or logarithmic; then mean and deviation are taken off."""

    best: float
    unit: float
    offset: float | None
    mean: float = 0.0
    deviation: float = 1.0

    def __call__(self, costs: Array) -> Array:
        """Return costs, none of which is better than the best, on this scale."""
        return (self._scaled(costs) - self.mean) / self.deviation

    def back(self, value: float) -> float:
        """Return the cost at a place of this scale."""
        scaled = value * self.deviation + self.mean
        if self.offset is None:
            return self.best + self.unit * scaled
        return self.best + self.unit * (math.exp(min(scaled, MAX_EXPONENT)) - self.offset)

    def log_slopes(self, costs: Array) -> float:
        """Return the sum of the logarithms of the scale's slope at costs: what makes scales comparable."""
        constant = -len(costs) * math.log(self.unit * self.deviation)
        return constant if self.offset is None else constant - float(self._scaled(costs).sum())

    def _scaled(self, costs: Array) -> Array:
        plain = (costs - self.best) / self.unit
        scaled: Array = plain if self.offset is None else np.log(plain + self.offset)
        return scaled


def warp_of(costs: Array, offset: float | None) -> Warp:
    """Return the scale with this offset on which the costs have mean 0 and variance 1."""
    best, unit = float(costs.min()), float(np.median(costs) - costs.min())
    if unit <= MIN_UNIT * float(np.ptp(costs)):  # half of the costs are the best one
        unit = float(costs.std())
    raw = Warp(best=best, unit=unit if unit > SMALLEST else 1.0, offset=offset)
    scaled = raw(costs)
    return replace(raw, mean=float(scaled.mean()), deviation=float(scaled.std()) or 1.0)


def offsets_for(num_costs: int) -> tuple[float | None, ...]:
    """Return the offsets worth comparing, the plain scale's first."""
    return (None, *OFFSETS) if num_costs >= MIN_WARPED else (None,)


def tempered(costs: Sequence[float | None]) -> list[float]:
    """Return costs fit for a model: nothing counts as the worst seen, and the worst not as more than it must.

    One diverged trial with a loss of 1e9 would else make all the others look the same. Nothing is cut that lies
    within five times the distance from the best to the median. A penalty that is the largest number there is counts as
    LARGEST.
    """
    seen = sorted(_bounded(cost) for cost in costs if cost is not None)
    best, median = seen[0], seen[len(seen) // 2]
    worst = min(seen[-1], median + 5 * (median - best)) if median > best else seen[-1]
    return [worst if cost is None else min(_bounded(cost), worst) for cost in costs]


def _bounded(cost: float) -> float:
    return max(-LARGEST, min(cost, LARGEST))
