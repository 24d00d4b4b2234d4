"""Suggestions of the real Gaussian process on small spaces."""

import json
import math
import statistics
from typing import Any

import pytest

from services.searcher.gaussian_process import suggest
from services.searcher.method import Proposal, Result, SearchMethod
from services.searcher.methods import method_of
from shared.config import parse_experiment

SPACE = """
  lr: {type: log, minval: -5, maxval: 0}
  width: {type: int, minval: 8, maxval: 64}
  opt: {drop: {type: double, minval: 0, maxval: 0.5}, name: {type: categorical, vals: [adam, sgd, [lion, 2]]}}
"""


def method(seed: int, *, num_trials: int = 14, num_concurrent: int = 2, space: str = SPACE) -> SearchMethod:
    searcher = f"{{name: bayesian, metric: loss, max_trials: {num_trials}, max_concurrent_trials: {num_concurrent}}}"
    text = f"entrypoint: x\nsearcher: {searcher}\nhyperparameters:{space}"
    return method_of(parse_experiment(text).with_seed(seed))


def loss(hyperparameters: dict[str, Any]) -> float:
    """A bowl whose bottom is at lr 0.01, width 40, without dropout, with adam."""
    opt = hyperparameters["opt"]
    far_off = (math.log10(hyperparameters["lr"]) + 2) ** 2 + ((hyperparameters["width"] - 40) / 20) ** 2
    return float(far_off + 2 * opt["drop"] + (0 if opt["name"] == "adam" else 0.5))


def answered(proposed: Any) -> Proposal:
    if isinstance(proposed, Proposal):
        return proposed
    reply = json.loads(json.dumps(suggest(json.loads(json.dumps(proposed.request)))))
    proposal: Proposal = proposed.answer(reply)
    return proposal


def searched(search: SearchMethod) -> list[Proposal]:
    """The proposals of a whole search in which trials end in the order of their requests."""
    proposals: list[Proposal] = []
    for index in range(1, search.num_trials + 1):
        num_closed = max(0, index - search.num_concurrent)
        closed, pending = proposals[:num_closed], proposals[num_closed:]
        results = [
            Result(index=1, hyperparameters=proposal.hyperparameters, cost=loss(proposal.hyperparameters))
            for proposal in closed
        ]
        proposals.append(answered(search.propose(index, results, [proposal.hyperparameters for proposal in pending])))
    return proposals


def test_it_finds_better_trials_than_chance() -> None:
    def best(proposals: list[Proposal]) -> float:
        return min(loss(proposal.hyperparameters) for proposal in proposals)

    chance = parse_experiment(
        f"entrypoint: x\nsearcher: {{name: random, metric: loss, max_trials: 14}}\nhyperparameters:{SPACE}"
    )
    drawn = [searched(method_of(chance.with_seed(seed))) for seed in range(40)]
    found = [searched(method(seed)) for seed in range(3)]
    assert statistics.mean(map(best, found)) < 0.7 * statistics.mean(map(best, drawn))


def test_suggestions_have_the_types_and_ranges_of_the_space() -> None:
    for proposal in searched(method(11, num_trials=12))[8:]:
        hyperparameters = proposal.hyperparameters
        assert proposal.origin.startswith("Gaussian process, EI, ")
        assert 1e-5 <= hyperparameters["lr"] <= 1
        assert type(hyperparameters["width"]) is int
        assert 8 <= hyperparameters["width"] <= 64
        assert type(hyperparameters["opt"]["drop"]) is float
        assert 0 <= hyperparameters["opt"]["drop"] <= 0.5
        assert hyperparameters["opt"]["name"] in ("adam", "sgd", ["lion", 2])


def test_the_same_seed_gives_the_same_search() -> None:
    first, again, other = (searched(method(seed, num_trials=11)) for seed in (5, 5, 6))
    assert first == again
    assert first[8:] != other[8:]


def test_pending_trials_send_the_search_elsewhere() -> None:
    search = method(2, space="\n  x: {type: double, minval: 0, maxval: 1}\n")
    results = [Result(index=1, hyperparameters={"x": x}, cost=(x - 0.6) ** 2) for x in (0.0, 0.25, 0.5, 0.75, 1.0)]
    alone = answered(search.propose(9, results, [])).hyperparameters
    beside = answered(search.propose(9, results, [alone])).hyperparameters
    assert abs(beside["x"] - alone["x"]) > 0.001


@pytest.mark.parametrize(
    "space",
    [
        "{type: categorical, vals: [only]}",
        "{type: categorical, vals: [1, true]}",
        "{type: int, minval: 0, maxval: 1}",
        "{type: int, minval: -9223372036854775807, maxval: 9223372036854775807}",
        "{type: double, minval: 0, maxval: 1.0e-300}",
    ],
)
def test_small_and_huge_ranges_are_searched_too(space: str) -> None:
    search = method(1, num_concurrent=3, space=f"\n  x: {space}\n")
    trials = [answered(search.propose(index, [], [])).hyperparameters for index in range(1, 6)]
    results = [Result(index=1, hyperparameters=trial, cost=float(index)) for index, trial in enumerate(trials[:4])]
    assert set(answered(search.propose(9, results, [*trials[4:], *trials[4:]])).hyperparameters) == {"x"}
