"""Configurations given by the experiment file or by other experiments."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.searcher.bayesian import GaussianProcessQuestion
from services.searcher.gaussian_process import suggest
from services.searcher.given import fits, given_values
from services.searcher.method import Proposal, Result, SearchMethod
from services.searcher.methods import method_of
from services.searcher.space import axes
from shared.config import Experiment, parse_experiment
from shared.errors import Rejected
from shared.events import OriginKind

SPACE = """
  lr: {type: log, minval: -4, maxval: -1, count: 3}
  n: {type: int, minval: 1, maxval: 8, count: 2}
  group: {kind: {type: categorical, vals: [a, 1, true]}, fixed: 3}
  optimizer:
    type: choice
    options: {sgd: {momentum: {type: double, minval: 0, maxval: 1, count: 2}}, adam: {}}
"""
BUDGETS = {
    "single": "",
    "random": ", max_trials: 9",
    "grid": "",
    "bayesian": ", max_trials: 9",
    "async_halving": ", max_trials: 9, num_rungs: 2, max_length: 100",
    "adaptive_asha": ", max_trials: 9, max_length: 100",
    "bayesian_asha": ", max_trials: 9, max_length: 100",
    "hyperband": ", max_length: 100",
}


def experiment(name: str, points: str, more: str = "") -> Experiment:
    searcher = f"{{name: {name}, metric: loss{BUDGETS[name]}, points_to_evaluate: {points}{more}}}"
    return parse_experiment(f"entrypoint: x\nsearcher: {searcher}\nhyperparameters:{SPACE}").with_seed(3)


def first(method: SearchMethod, index: int = 1) -> Proposal:
    proposal = method.propose(index, [], [])
    assert isinstance(proposal, Proposal)
    return proposal


@pytest.mark.parametrize("name", BUDGETS)
def test_given_configurations_come_first_and_are_completed(name: str) -> None:
    asked = experiment(name, "[{lr: 0.01, optimizer: {name: sgd}}]")
    proposal = first(method_of(asked))
    assert proposal.chosen.kind is OriginKind.GIVEN
    assert proposal.hyperparameters["lr"] == 0.01
    assert proposal.hyperparameters["optimizer"]["name"] == "sgd"
    assert 0 <= proposal.hyperparameters["optimizer"]["momentum"] <= 1
    assert proposal.hyperparameters["group"]["fixed"] == 3
    again = first(method_of(asked))
    assert again == proposal
    if name != "single":
        assert first(method_of(asked), 2).chosen.kind is not OriginKind.GIVEN


def test_a_grid_follows_its_given_configurations_whole() -> None:
    grid = method_of(experiment("grid", "[{n: 5}, {n: 6}]"))
    assert grid.num_trials == 2 + 3 * 2 * 3 * 3
    assert first(grid, 3).origin == "grid point 1 of 54"
    assert first(grid, 56).origin == "grid point 54 of 54"


@pytest.mark.parametrize(
    ("point", "path", "message"),
    [
        ("{lrr: 1}", "lrr", "is no hyperparameter of this experiment"),
        ("{lr: 1}", "lr", "must be a number from 0.0001 to 0.1, found 1"),
        ("{n: 1.5}", "n", "must be a whole number from 1 to 8, found 1.5"),
        ("{n: true}", "n", "must be a whole number from 1 to 8, found True"),
        ("{group: 1}", "group", "must be a mapping, found 1"),
        ("{group: {kind: b}}", "group.kind", "must be one of 'a', 1, True, found 'b'"),
        ("{group: {fixed: 4}}", "group.fixed", "must be 3, found 4"),
        ("{optimizer: {momentum: 1}}", "optimizer.name", "must be one of adam, sgd"),
        ("{optimizer: {name: adam, momentum: 1}}", "optimizer.momentum", "is no hyperparameter of this experiment"),
    ],
)
def test_what_does_not_fit_the_space_is_told_with_its_path(point: str, path: str, message: str) -> None:
    with pytest.raises(Rejected) as rejected:
        experiment("random", f"[{{}}, {point}]")
    (problem,) = rejected.value.problems
    assert (problem.path, problem.message) == (f"searcher.points_to_evaluate[1].{path}", message)


@pytest.mark.parametrize(
    ("name", "most"), [("single", 1), *((name, 9) for name, budget in BUDGETS.items() if "max_trials" in budget)]
)
def test_none_of_the_given_configurations_is_dropped_in_silence(name: str, most: int) -> None:
    assert len(experiment(name, f"[{', '.join(['{}'] * most)}]").searcher.points_to_evaluate) == most
    with pytest.raises(Rejected, match="mistake") as rejected:
        experiment(name, f"[{', '.join(['{}'] * (most + 1))}]")
    (problem,) = rejected.value.problems
    assert problem.path == "searcher.points_to_evaluate"
    assert problem.message == f"has {most + 1} configurations for {most} trial{'s' * (most > 1)}"


def warm(*observations: tuple[dict[str, Any], float], better: str = "true") -> SearchMethod:
    told = ", ".join(f"{{hyperparameters: {point}, metric: {metric}}}" for point, metric in observations)
    more = f", smaller_is_better: {better}, warm_start: {{observations: [{told}]}}"
    return method_of(experiment("bayesian", "[]", more))


def test_a_warm_start_asks_the_model_from_the_first_trial_on() -> None:
    known = [({"lr": 10**-exponent, "n": 2}, abs(exponent - 3.0)) for exponent in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)]
    question = warm(*known).propose(1, [], [])
    assert isinstance(question, GaussianProcessQuestion)
    assert question.request["points"][0] == [None, pytest.approx(-1.0), 2, None, None]
    assert question.request["context"] == [[1.0]] * 7
    assert question.chosen.num_observed == 0
    assert 10**-3.8 < question.answer(suggest(question.request)).hyperparameters["lr"] < 10**-2.2


def test_own_results_stand_beside_those_of_others() -> None:
    method = warm(({"lr": 0.01}, 5.0), better="false")
    own = first(method_of(experiment("random", "[]"))).hyperparameters
    question = method.propose(2, [Result(index=1, hyperparameters=own, cost=-0.25)], [own])
    assert isinstance(question, GaussianProcessQuestion)
    assert question.request["costs"] == [-5.0, -0.25]
    assert question.request["context"] == [[1.0], [0.0]]
    assert question.request["pending_context"] == [[0.0]]
    assert question.origin.endswith("1 observed, 1 pending, 1 from other experiments")


@pytest.mark.parametrize("point", ["{lr: 7.0}", "{other: 1}", "{group: {fixed: 3}}", "{optimizer: {momentum: 0.1}}"])
def test_observations_out_of_range_or_without_a_shared_hyperparameter_tell_nothing(point: str) -> None:
    more = f", warm_start: {{observations: [{{hyperparameters: {point}, metric: 1.0}}]}}"
    assert first(method_of(experiment("bayesian", "[]", more))).chosen.kind is OriginKind.INITIAL_DESIGN


OWN = {"lr": 0.01, "n": 2, "group": {"kind": "a"}, "optimizer": {"name": "sgd", "momentum": 0.5}}


@pytest.mark.parametrize(
    "more",
    [
        {"seed": 3},
        {"group": {"kind": "a", "width": 8, "inner": {"depth": 2}}},
        {"optimizer": {"name": "sgd", "momentum": 0.5, "nesterov": True}},
        {"optimizer": {"name": "adam", "momentum": 0.5}},
    ],
)
def test_what_only_the_other_space_has_takes_nothing_from_what_both_have(more: dict[str, Any]) -> None:
    """Given an experiment with one hyperparameter more, at the top, in a group or in an option; when a search begins
    warm from it; then the model is told what both have."""
    question = warm((OWN | more, 1.0)).propose(1, [], [])
    assert isinstance(question, GaussianProcessQuestion)
    momentum = 0.5 if "adam" not in str(more) else None
    option = 1 if momentum else 0
    assert question.request["points"] == [[0, pytest.approx(-2.0), 2, option, momentum]]


NAMES = st.sampled_from(["width", "depth", "beta", "warmup"])
OTHERS = st.dictionaries(NAMES, st.one_of(st.integers(), st.text(max_size=3), st.dictionaries(NAMES, st.integers())))


@given(top=OTHERS, group=OTHERS, option=OTHERS)
def test_hyperparameters_that_are_not_here_change_nothing_wherever_they_stand(
    top: dict[str, Any], group: dict[str, Any], option: dict[str, Any]
) -> None:
    space = experiment("bayesian", "[]").hyperparameters
    wider = OWN | top | {"group": {"kind": "a"} | group, "optimizer": {"name": "sgd", "momentum": 0.5} | option}
    assert fits(space, wider)
    assert given_values(axes(space), wider, {}) == given_values(axes(space), OWN, {})
    assert not fits(space, wider | {"lr": 7.0}), "but a value out of range still counts"
    assert not fits(space, {"group": group, "optimizer": 3} | top)


@pytest.mark.parametrize("point", [{"group": 1}, {"optimizer": "sgd"}, {"optimizer": {"name": "lion"}}])
def test_an_option_that_is_not_here_and_what_is_no_group_tell_nothing(point: dict[str, Any]) -> None:
    assert not fits(experiment("bayesian", "[]").hyperparameters, {"lr": 0.01} | point)
