"""Costs made fit for a Gaussian process: mean 0, variance 1, and on the scale on which they look most like one.

A cost that spans orders of magnitude looks like a cliff and a plain; its logarithm, measured from just below the best,
looks like a slope. How far below is chosen by evidence, with the plain cost among the candidates: a warped Gaussian
process (E. Snelson, C. E. Rasmussen, Z. Ghahramani, Warped Gaussian Processes, 2003).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.searcher.surrogate import Array

#: How far below the best cost the logarithm's zero lies, in units of the distance from the best to the median.
OFFSETS = (0.01, 0.1, 1.0)

MIN_WARPED = 6  # of so few costs nobody can tell a scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp:
    """A scale for costs: plain (no offset), or logarithmic; then mean and deviation are taken off."""

    best: float
    unit: float
    offset: float | None
    mean: float
    deviation: float

    def __call__(self, costs: Array) -> Array:
        """Return costs on this scale."""
        return (self._scaled(costs) - self.mean) / self.deviation

    def back(self, value: float) -> float:
        """Return the cost at a place of this scale."""
        scaled = value * self.deviation + self.mean
        if self.offset is None:
            return self.best + self.unit * scaled
        return self.best + self.unit * (float(np.exp(min(scaled, 700.0))) - self.offset)

    def log_slopes(self, costs: Array) -> float:
        """Return the sum of the logarithms of the scale's slope at costs: what makes scales comparable."""
        constant = -len(costs) * float(np.log(self.unit * self.deviation))
        return constant if self.offset is None else constant - float(self._scaled(costs).sum())

    def _scaled(self, costs: Array) -> Array:
        plain = np.maximum((costs - self.best) / self.unit, 0.0)
        scaled: Array = plain if self.offset is None else np.log(plain + self.offset)
        return scaled


def warps(costs: Array) -> list[Warp]:
    """Return the scales worth comparing, the plain one first."""
    best, unit = float(costs.min()), float(np.median(costs) - costs.min())
    if unit <= 0:
        unit = float(costs.std()) or 1.0
    offsets: tuple[float | None, ...] = (None, *OFFSETS) if len(costs) >= MIN_WARPED else (None,)
    found = []
    for offset in offsets:
        raw = Warp(best=best, unit=unit, offset=offset, mean=0.0, deviation=1.0)
        scaled = raw(costs)
        deviation = float(scaled.std()) or 1.0
        found.append(Warp(best=best, unit=unit, offset=offset, mean=float(scaled.mean()), deviation=deviation))
    return found


def tempered(costs: Sequence[float | None]) -> list[float]:
    """Return costs fit for a model: nothing counts as the worst seen, and the worst not as more than it must.

    One diverged trial with a loss of 1e9 would else make all the others look the same. Nothing is cut that lies
    within five times the distance from the best to the median.
    """
    seen = sorted(cost for cost in costs if cost is not None)
    best, median = seen[0], seen[len(seen) // 2]
    worst = min(seen[-1], median + 5 * (median - best)) if median > best else seen[-1]
    return [worst if cost is None else min(cost, worst) for cost in costs]
