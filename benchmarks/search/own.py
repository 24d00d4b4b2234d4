"""This project's methods as contestants: the real ones, told what the searcher's state would tell them."""

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from benchmarks.search.contest import run
from benchmarks.search.problems import PROBLEMS, evaluate
from services.searcher.gaussian_process import suggest
from services.searcher.knowledge import Knowledge
from services.searcher.method import Proposal, Result
from services.searcher.methods import method_of
from services.searcher.search import LOOKAHEAD_SHARE
from services.searcher.space import sample
from shared.config import Experiment, parse_experiment

SEARCHERS = {
    "random": "{name: random, metric: cost, max_trials: 100000}",
    "bayesian": "{name: bayesian, metric: cost, max_trials: 100000}",
    "bayesian_lhs": "{name: bayesian, metric: cost, max_trials: 100000, initial_design: lhs}",
    "bayesian_random": "{name: bayesian, metric: cost, max_trials: 100000, initial_design: random}",
}


class Own:
    """A search method; as in the searcher, some proposals are made before the last results are in."""

    def __init__(self, experiment: Experiment, num_workers: int) -> None:
        self._method = method_of(experiment)
        self._num_workers = num_workers
        self._knowledge = Knowledge()
        self._open: dict[int, dict[str, Any]] = {}
        self._num_asked = 0
        self._settle()

    def ask(self) -> tuple[Any, dict[str, Any]]:
        index = self._num_asked + 1
        outcome = self._method.propose(index, *self._knowledge.of(index, self._open, {}))
        proposal = outcome if isinstance(outcome, Proposal) else outcome.answer(suggest(outcome.request))
        assert isinstance(proposal, Proposal), "it was asked for one"
        self._knowledge.requested(index)
        self._num_asked, self._open[index] = index, proposal.hyperparameters
        self._settle()
        return index, proposal.hyperparameters

    def tell(self, token: Any, cost: float) -> None:
        result = Result(index=token, hyperparameters=self._open.pop(token), cost=cost)
        self._knowledge.results.append(result)
        self._settle()

    def _settle(self) -> None:
        num_ahead = self._num_workers - len(self._open) + self._num_workers // LOOKAHEAD_SHARE
        self._knowledge.settle(self._num_asked + 1, self._num_asked + num_ahead, self._num_asked)


def experiment_of(method: str, space: dict[str, Any], seed: int) -> Experiment:
    """Return the experiment whose search takes part."""
    text = f"entrypoint: x\nsearcher: {SEARCHERS[method]}\nhyperparameters: {json.dumps(space)}\n"
    return parse_experiment(text).with_seed(seed)


def latency(asked: dict[str, Any]) -> list[float]:
    """Return the processor time of suggestions beside `num_observed` results and `num_pending` open trials, in turn.

    Each but the first has one result more, as when a trial ends.
    """
    problem = PROBLEMS[asked["problem"]]
    experiment = experiment_of(asked["method"], problem.space, asked["seed"])
    method, space = method_of(experiment), experiment.hyperparameters
    num_observed, num_pending = asked["num_observed"], asked["num_pending"]
    drawn = [sample(space, experiment.seed, number) for number in range(num_observed + num_pending + asked["repeats"])]
    took = []
    for number in range(asked["repeats"]):
        observed = num_observed + number
        results = [Result(index=i, hyperparameters=drawn[i], cost=evaluate(problem, drawn[i])) for i in range(observed)]
        started_at = time.process_time()
        outcome = method.propose(100_000, results, drawn[observed : observed + num_pending])
        if not isinstance(outcome, Proposal):
            outcome.answer(suggest(json.loads(json.dumps(outcome.request))))
        took.append(time.process_time() - started_at)
    return took


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        problem = PROBLEMS[asked["problem"]]
        if "num_observed" in asked:
            reply: dict[str, Any] = {"took_s": latency(asked)}
        else:
            experiment = experiment_of(asked["method"], problem.space, asked["seed"])
            course = run(
                Own(experiment, asked["num_workers"]),
                problem,
                num_evaluations=asked["num_evaluations"],
                num_workers=asked["num_workers"],
                seed=asked["seed"],
            )
            reply = asdict(course)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
