"""What rungs can do with a problem at all: how many of the configurations that are good in the end look good at a rung.

Configurations are drawn at random. A good one is as good as random search is in the end, at some epoch. It passes a
rung if it is among the best fourth of those that came there, and nobody judges too early: the best that asynchronous
halving can hope for.
"""

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.multi_fidelity.problems import PROBLEMS, Axes, curve
from benchmarks.multi_fidelity.race import MAX_EPOCHS
from benchmarks.multi_fidelity.space import NUM_EPOCHS

NUM_DRAWN = 20_000
RUNGS = (3, 12)
KEPT = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """Of a problem: the share of good configurations; of these, the share that passes the first rung, and both, and the
    second where that is the first. How losses at the first rung and in the end correlate by rank, in all and among the
    fifth that is best in the end."""

    good: float
    pass_first: float
    pass_both: float
    pass_second: float
    correlation: float
    correlation_of_best: float

    def least_part(self, share_of_long: float) -> float:
        """Return the part of random search's epochs after which half of the searches have arrived that judge like this.

        So much of the training goes to a ladder that begins at the second rung, the rest to one with all.
        """
        first, second = RUNGS
        short = first + KEPT * (second - first) + KEPT**2 * (NUM_EPOCHS - second)  # epochs for each configuration
        long = second + KEPT * (NUM_EPOCHS - second)
        found = self.good * ((1 - share_of_long) * self.pass_both / short + share_of_long * self.pass_second / long)
        return math.log(2) / found / MAX_EPOCHS if found else math.inf

    def sentence(self) -> str:
        """Return it in words."""
        return (
            f"Of configurations drawn at random, {self.good:.2%} are as good as that. {self.pass_first:.0%} of these "
            f"are among the best fourth at the first rung, and {self.pass_both:.0%} at both. So who draws at random "
            f"and judges by these rungs needs {self.least_part(0):.0%} at best of random search's epochs (median), "
            f"and {self.least_part(0.5):.0%} with a second ladder that begins at {RUNGS[1]} epochs and has half of "
            f"the slots. Losses after {RUNGS[0]} and {NUM_EPOCHS} epochs correlate by rank with "
            f"{self.correlation:.2f}; among the fifth that is best in the end, with {self.correlation_of_best:.2f}."
        )


def _configurations(axes: Axes) -> Iterator[dict[str, Any]]:
    """Yield all there are, or many drawn at random."""
    if all(axes.values()):
        for places in itertools.product(*(range(size or 0) for size in axes.values())):
            yield dict(zip(axes, places, strict=True))
        return
    drawn = random.Random(1)
    for _ in range(NUM_DRAWN):
        yield {name: drawn.random() if size is None else drawn.randrange(size) for name, size in axes.items()}


def odds(problem: str, target: float) -> Odds:
    """Return the odds of a problem; `target` is what random search comes to."""
    curves = [curve(problem, hyperparameters) for hyperparameters in _configurations(PROBLEMS[problem])]
    first, second, last = (np.array([one(epochs) for one in curves]) for epochs in (*RUNGS, NUM_EPOCHS))
    good = np.array([min(map(one, range(1, NUM_EPOCHS + 1))) <= target for one in curves])
    goes_on = first <= np.quantile(first, KEPT)
    goes_far = goes_on & (second <= np.quantile(second[goes_on], KEPT))
    goes_on_late = second <= np.quantile(second, KEPT)
    best = last <= np.quantile(last, 0.2)
    return Odds(
        good=float(good.mean()),
        pass_first=float(goes_on[good].mean()),
        pass_both=float(goes_far[good].mean()),
        pass_second=float(goes_on_late[good].mean()),
        correlation=float(spearmanr(first, last).statistic),
        correlation_of_best=float(spearmanr(first[best], last[best]).statistic),
    )
