"""Adaptive ASHA: brackets of different numbers of rungs beside each other, because nobody knows beforehand how much
of a trial must be seen to judge it. The idea is Hyperband's (L. Li et al., 2016, arXiv 1603.06560); each bracket runs
ASHA (arXiv 1810.05934). How many rungs, trials and slots each bracket has follows Determined, so that its files give
the same search.
"""

import math

from services.searcher.async_halving import bracket_plan
from services.searcher.method import BracketPlan


def bracket_plans(
    *,
    num_units: int,
    num_trials: int,
    divisor: float,
    max_rungs: int,
    mode: str,
    bracket_rungs: tuple[int, ...],
    max_concurrent_trials: int,
) -> tuple[BracketPlan, ...]:
    """Return the brackets, most rungs first; each has at least one trial."""
    rungs = bracket_rungs or rungs_of_mode(
        mode, num_rungs=highest_rungs(num_units, num_trials, divisor=divisor, max_rungs=max_rungs)
    )
    rungs = tuple(sorted(rungs, reverse=True))[:num_trials]
    trials = split_trials(num_trials, divisor=divisor, rungs=rungs)
    concurrency = split_concurrency(max_concurrent_trials, divisor=divisor, trials=trials)
    return tuple(
        bracket_plan(
            num_units=num_units,
            divisor=divisor,
            num_rungs=num_rungs,
            num_trials=bracket_trials,
            max_concurrent_trials=num_concurrent,
        )
        for num_rungs, bracket_trials, num_concurrent in zip(rungs, trials, concurrency, strict=True)
    )


def highest_rungs(num_units: int, num_trials: int, *, divisor: float, max_rungs: int) -> int:
    """Return how many rungs the units and the trials are good for. Floating point as in Determined: ln 1000/ln 10 is
    2.999…, and so one rung less than expected."""
    return min(max_rungs, *(int(math.log(number) / math.log(divisor)) + 1 for number in (num_units, num_trials)))


def rungs_of_mode(mode: str, *, num_rungs: int) -> tuple[int, ...]:
    """Return the numbers of rungs of a mode's brackets."""
    lowest = {"conservative": 1, "standard": (num_rungs - 1) // 2 + 1, "aggressive": num_rungs}[mode]
    return tuple(range(num_rungs, lowest - 1, -1))


def split_trials(num_trials: int, *, divisor: float, rungs: tuple[int, ...]) -> tuple[int, ...]:
    """Return each bracket's trials, so that all train for about as long; the first gets what is left over."""
    weights = [divisor ** (num_rungs - 1) / num_rungs for num_rungs in rungs]
    trials = [max(1, int(num_trials * weight / sum(weights))) for weight in weights]
    trials[0] += max(0, num_trials - sum(trials))
    while sum(trials) > num_trials:  # where brackets were given the one trial that each must have
        trials[trials.index(max(trials))] -= 1
    return tuple(trials)


def split_concurrency(max_concurrent_trials: int, *, divisor: float, trials: tuple[int, ...]) -> tuple[int, ...]:
    """Return each bracket's share; at least one each. 0 gives every bracket as many as the last one has trials."""
    num_brackets = len(trials)
    if max_concurrent_trials == 0:
        return (max(trials[-1], int(divisor)),) * num_brackets
    share, rest = divmod(max(max_concurrent_trials, num_brackets), num_brackets)
    return tuple(share + (number < rest) for number in range(num_brackets))
