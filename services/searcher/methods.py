"""Which search method an experiment asks for."""

from services.searcher.bayesian import Bayesian
from services.searcher.grid import Grid
from services.searcher.method import SearchMethod
from services.searcher.random_search import Random
from services.searcher.single import Single
from shared.config import Experiment
from shared.config.searcher import BayesianSearch, GridSearch, RandomSearch, SingleSearch


def method_of(experiment: Experiment) -> SearchMethod:
    """Return the search method of an experiment."""
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
                num_trials=experiment.num_trials,
                num_concurrent=search.max_concurrent_trials or experiment.num_trials,
            )
        case BayesianSearch() as search:
            return Bayesian(
                space=space,
                seed=seed,
                num_trials=search.max_trials,
                num_concurrent=search.max_concurrent_trials,
                num_initial=min(search.initial_trials, search.max_trials),
                acquisition_function=search.acquisition_function,
            )
