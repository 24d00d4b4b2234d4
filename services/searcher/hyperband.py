"""Hyperband: brackets from many rungs with many trials down to one rung with few, each with about the same training.

Theory: L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh, A. Talwalkar, Hyperband: A Novel Bandit-Based Approach to
Hyperparameter Optimization, 2016, arXiv 1603.06560; shared.config.searcher maps its symbols. Deviation: its brackets
run beside each other, and each halves asynchronously (services.searcher.rungs) instead of waiting for whole rungs.
"""

from services.searcher.adaptive_asha import split_concurrency
from services.searcher.async_halving import bracket_plan
from services.searcher.method import BracketPlan
from shared.config.searcher import hyperband_brackets


def hyperband_plans(
    *, num_units: int, divisor: float, max_rungs: int, max_concurrent_trials: int
) -> tuple[BracketPlan, ...]:
    """Return the brackets, most rungs first."""
    brackets = hyperband_brackets(num_units, divisor, max_rungs)
    trials = tuple(num_trials for _, num_trials in brackets)
    concurrency = split_concurrency(max_concurrent_trials, divisor=divisor, trials=trials)
    return tuple(
        bracket_plan(
            num_units=num_units,
            divisor=divisor,
            num_rungs=num_rungs,
            num_trials=num_trials,
            max_concurrent_trials=num_concurrent,
        )
        for (num_rungs, num_trials), num_concurrent in zip(brackets, concurrency, strict=True)
    )
