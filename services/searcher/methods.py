"""Which search method an experiment asks for, and whether its trials compete on rungs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.searcher.adaptive_asha import bracket_plans, split_concurrency, split_trials
from services.searcher.async_halving import AsyncHalving, bracket_plan
from services.searcher.bayesian import Bayesian
from services.searcher.given import GivenFirst
from services.searcher.grid import Grid
from services.searcher.hyperband import hyperband_plans
from services.searcher.method import BracketPlan, SearchMethod
from services.searcher.random_search import Random
from services.searcher.rungs import Rule, Tournament, tournament
from services.searcher.single import Single
from shared.config import Experiment
from shared.config.hyperparameters import num_grid_points
from shared.config.searcher import (
    AdaptiveASHASearch,
    AsyncHalvingSearch,
    BayesianASHASearch,
    BayesianSearch,
    EarlyStoppingCommon,
    GridSearch,
    HyperbandSearch,
    ModelCommon,
    Observation,
    RandomSearch,
    SingleSearch,
)

MAX_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """An experiment that is equal to itself only: comparing configurations would take as long as reading one."""

    experiment: Experiment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.experiment is self.experiment

    def __hash__(self) -> int:
        return id(self.experiment)


def method_of(experiment: Experiment, submitted_trials: int | None = None) -> SearchMethod:
    """Return the search method of an experiment, which was submitted for so many trials (None: for as many as now).

    The initial design and the units that a model knows of were laid out for these, like the ladders, and stay.
    """
    return _remembered(_Same(experiment), submitted_trials)


@lru_cache(MAX_REMEMBERED)
def _remembered(same: _Same, submitted_trials: int | None) -> SearchMethod:
    experiment = same.experiment
    method, given = _method_of(experiment, submitted_trials), experiment.searcher.points_to_evaluate
    if not given:
        return method
    in_addition = isinstance(experiment.searcher, GridSearch)
    return GivenFirst(
        method=method, given=given, space=experiment.hyperparameters, seed=experiment.seed, in_addition=in_addition
    )


def _method_of(experiment: Experiment, submitted_trials: int | None) -> SearchMethod:
    space, seed = experiment.hyperparameters, experiment.seed
    match experiment.searcher:
        case SingleSearch():
            return Single(space=space, seed=seed)
        case RandomSearch() as search:
            return Random(
                space=space,
                seed=seed,
                num_trials=search.max_trials,
                num_concurrent=search.max_concurrent_trials or search.max_trials,
            )
        case GridSearch() as search:
            return Grid(
                space=space,
                num_trials=num_grid_points(space),
                num_concurrent=search.max_concurrent_trials or experiment.num_trials,
            )
        case BayesianSearch() as search:
            return Bayesian(
                space=space,
                seed=seed,
                num_trials=search.max_trials,
                num_concurrent=search.max_concurrent_trials,
                num_initial=min(search.initial_trials, submitted_trials or search.max_trials),
                initial_design=search.initial_design,
                acquisition_function=search.acquisition_function,
                warm_start=_observations(search),
                smaller_is_better=search.smaller_is_better,
            )
        case BayesianASHASearch() as search:
            brackets = _brackets(search)
            return Bayesian(
                space=space,
                seed=seed,
                num_trials=sum(bracket.num_trials for bracket in brackets),
                num_concurrent=sum(bracket.num_concurrent for bracket in brackets),
                num_initial=min(search.initial_trials, submitted_trials or search.max_trials),
                initial_design=search.initial_design,
                acquisition_function=search.acquisition_function,
                warm_start=_observations(search),
                smaller_is_better=search.smaller_is_better,
                units=_span(search, submitted_trials or search.max_trials),
            )
        case AsyncHalvingSearch() | AdaptiveASHASearch() | HyperbandSearch() as search:
            return AsyncHalving(space=space, seed=seed, brackets=_brackets(search))


def _span(search: BayesianASHASearch, submitted_trials: int) -> tuple[int, int]:
    """Return the units of the lowest and the highest rung of the ladders, which depend on the trials."""
    brackets = _brackets(search.model_copy(update={"max_trials": submitted_trials}))
    return min(bracket.units[0] for bracket in brackets), brackets[0].units[-1]


def model_of(experiment: Experiment, submitted_trials: int | None = None) -> Bayesian | None:
    """Return the model that judges an experiment's trials at their rungs, if one does; see method_of."""
    search = experiment.searcher
    if not isinstance(search, BayesianASHASearch) or search.judge_by != "prediction":
        return None
    method = _method_of(experiment, submitted_trials)
    assert isinstance(method, Bayesian), "it has a model"
    return method


def _observations(search: ModelCommon) -> tuple[Observation, ...]:
    return search.warm_start.observations if search.warm_start else ()


def tournament_of(experiment: Experiment) -> Tournament | None:
    """Return the tournament of an experiment whose trials compete on rungs, before its first trial; else None."""
    search = experiment.searcher
    if not isinstance(search, AsyncHalvingSearch | AdaptiveASHASearch | BayesianASHASearch | HyperbandSearch):
        return None
    return tournament(_rule(search), search.divisor, _brackets(search))


def _rule(search: EarlyStoppingCommon) -> Rule:
    if search.max_length is None:
        return Rule.TIME
    return Rule.STOP_ONCE if search.stop_once else Rule.PROMOTE


def _brackets(
    search: AsyncHalvingSearch | AdaptiveASHASearch | BayesianASHASearch | HyperbandSearch,
) -> tuple[BracketPlan, ...]:
    if isinstance(search, AsyncHalvingSearch):
        one = bracket_plan(
            num_units=search.num_units,
            divisor=search.divisor,
            num_rungs=search.num_rungs,
            num_trials=search.max_trials,
            max_concurrent_trials=search.max_concurrent_trials,
        )
        return (one,)
    if isinstance(search, HyperbandSearch):
        return hyperband_plans(
            num_units=search.num_units,
            divisor=search.divisor,
            max_rungs=search.max_rungs,
            max_concurrent_trials=search.max_concurrent_trials,
        )
    return bracket_plans(
        num_units=search.num_units,
        num_trials=search.max_trials,
        divisor=search.divisor,
        max_rungs=search.max_rungs,
        mode=search.mode,
        bracket_rungs=search.bracket_rungs,
        max_concurrent_trials=search.max_concurrent_trials,
    )


def bracket_sizes(experiment: Experiment, played: Tournament) -> list[tuple[int, int]]:
    """Return how many trials each bracket is to have in all, and at a time, after the experiment's limits changed.

    The ladders stay as they were laid out. The trials are split over them as at the beginning, except that a bracket
    keeps those that have entered; the others give way for them.
    """
    search = experiment.searcher
    assert isinstance(search, EarlyStoppingCommon), "trials compete on rungs"
    trials: Sequence[int] = [bracket.plan.num_trials for bracket in played.brackets]
    if experiment.num_trials != sum(trials):
        rungs = tuple(len(bracket.rungs) for bracket in played.brackets)
        trials = split_trials(experiment.num_trials, divisor=search.divisor, rungs=rungs)
    trials = _at_least([bracket.num_entered for bracket in played.brackets], trials)
    limit = search.max_concurrent_trials
    if not limit and len(trials) == 1:
        limit = int(search.divisor ** (len(played.brackets[0].rungs) - 1))
    concurrency = split_concurrency(limit, divisor=search.divisor, trials=tuple(trials))
    return [(count, max(1, min(share, count))) for count, share in zip(trials, concurrency, strict=True)]


def _at_least(entered: Sequence[int], trials: Sequence[int]) -> list[int]:
    """Return the trials with at least those entered, and no more in all than that takes."""
    kept = [max(pair) for pair in zip(entered, trials, strict=True)]
    for _ in range(sum(kept) - max(sum(trials), sum(entered))):
        spare = [count - least for count, least in zip(kept, entered, strict=True)]
        kept[spare.index(max(spare))] -= 1
    return kept
