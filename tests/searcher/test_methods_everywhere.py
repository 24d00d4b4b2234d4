"""What holds for each search method: nested and conditional spaces, the start of those with a model, suggestions made
ahead of need, and what a model hears from rungs."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.searcher import suggestions
from services.searcher.bayesian import GaussianProcessQuestion
from services.searcher.decide import question
from services.searcher.method import Proposal, Result
from services.searcher.methods import method_of
from services.searcher.sobol import sobol
from services.searcher.space import axes, value_at
from shared.config import Experiment, parse_experiment
from shared.config.given import misfits
from shared.events import OriginKind, TrialRequested
from tests.searcher.world import (
    EXPERIMENT,
    SUGGESTED,
    World,
    allocated,
    exited,
    released,
    reported,
    requests,
    submitted,
)

SPACE = """
hyperparameters:
  batch: 32
  list: [1, {type: int}]
  empty: {}
  net:
    depth: {type: int, minval: 1, maxval: 4, count: 2}
    kind: {type: categorical, vals: [a, 1, null, {deep: [1]}]}
    block:
      type: choice
      options:
        plain: {}
        gated:
          gate: {type: choice, options: {hard: {}, soft: {slope: {type: double, minval: 0, maxval: 1, count: 2}}}}
  optimizer:
    type: choice
    options:
      sgd: {lr: {type: log, minval: -3, maxval: 0, count: 2}, momentum: {type: double, minval: 0, maxval: 1, count: 2}}
      adam: {lr: {type: log, minval: -5, maxval: -2, count: 2}}
"""
TIME = "max_time: 9, time_metric: epochs, divisor: 3"
METHODS = {
    "single": "",
    "random": "max_trials: 60",
    "grid": "",
    "bayesian": "max_trials: 60, initial_trials: 4",
    "async_halving": f"max_trials: 60, num_rungs: 3, {TIME}",
    "adaptive_asha": f"max_trials: 60, {TIME}",
    "bayesian_asha": f"max_trials: 60, initial_trials: 4, {TIME}",
    "hyperband": TIME,
}


def experiment(name: str, more: str = "") -> Experiment:
    fields = ", ".join(filter(None, (METHODS[name], more)))
    return parse_experiment(f"entrypoint: x\nsearcher: {{name: {name}, metric: loss, {fields}}}\n{SPACE}").with_seed(5)


def trials(name: str, count: int) -> Iterator[dict[str, Any]]:
    """The first trials of a search whose results are what it likes least first."""
    method, results = method_of(experiment(name)), list[Result]()
    with suggestions.computing() as compute:
        for index in range(1, min(count, method.num_trials) + 1):
            proposal = method.propose(index, results, [])
            answer = proposal if isinstance(proposal, Proposal) else compute(proposal)
            assert isinstance(answer, Proposal), answer
            results.append(Result(index=index, hyperparameters=answer.hyperparameters, cost=1 / index, units=9))
            yield answer.hyperparameters


@pytest.mark.parametrize("name", METHODS)
def test_spaces_may_be_nested_and_conditional(name: str) -> None:
    space = experiment(name).hyperparameters
    found = list(trials(name, 16 if "bayesian" in name else 500))
    for trial in found:
        assert not list(misfits(space, trial, ()))
        assert (trial["batch"], trial["list"], trial["empty"]) == (32, [1, {"type": "int"}], {})
        optimizer = {"sgd": {"name", "lr", "momentum"}, "adam": {"name", "lr"}}
        assert set(trial["optimizer"]) == optimizer[trial["optimizer"]["name"]]
        block = trial["net"]["block"]
        assert set(block) == ({"name", "gate"} if block["name"] == "gated" else {"name"})
        if block["name"] == "gated":
            assert set(block["gate"]) == ({"name", "slope"} if block["gate"]["name"] == "soft" else {"name"})
    if name != "single":
        assert {trial["optimizer"]["name"] for trial in found} == {"sgd", "adam"}
        assert {trial["net"]["block"]["name"] for trial in found} == {"plain", "gated"}


def test_a_grid_has_the_points_of_each_option_and_no_others() -> None:
    found = list(trials("grid", 10_000))
    depth_and_kind, blocks, optimizers = 2 * 4, 1 + (1 + 2), 2 * 2 + 2
    assert len(found) == depth_and_kind * blocks * optimizers
    assert len({str(trial) for trial in found}) == len(found)


@pytest.mark.parametrize("name", ["bayesian", "bayesian_asha"])
def test_the_start_is_quasi_random(name: str) -> None:
    asked = experiment(name)
    method = method_of(asked)
    varied = list(axes(asked.hyperparameters))
    for index in range(1, 5):
        proposal = method.propose(index, [], [])
        assert isinstance(proposal, Proposal)
        assert (proposal.chosen.kind, proposal.chosen.design) == (OriginKind.INITIAL_DESIGN, "Sobol")
        for axis, place in zip(varied, sobol(5, index, len(varied)), strict=True):
            if axis.condition is None:
                assert at(proposal.hyperparameters, axis.place) == value_at(axis.range, place)


def at(hyperparameters: dict[str, Any], place: tuple[str, ...]) -> Any:
    """The value at a place in a trial's hyperparameters."""
    held: Any = hyperparameters
    for key in place:
        held = held[key]
    return held


def first_question(name: str, more: str) -> GaussianProcessQuestion:
    method = method_of(experiment(name, more))
    first = method.propose(1, [], [])
    assert isinstance(first, Proposal)
    results = [Result(index=1, hyperparameters=first.hyperparameters, cost=0.5, units=9)]
    found = method.propose(9, results, [first.hyperparameters])
    assert isinstance(found, GaussianProcessQuestion)
    return found


@pytest.mark.parametrize("name", ["bayesian", "bayesian_asha"])
@pytest.mark.parametrize("function", ["EI", "LCB", "PI"])
def test_the_acquisition_function_is_the_one_asked_for(name: str, function: str) -> None:
    found = first_question(name, f"acquisition_function: {function}")
    assert found.request["acquisition_function"] == function
    assert found.chosen.acquisition == function
    assert len(found.request["pending"]) == 1


@pytest.mark.parametrize(("concurrent", "is_ahead"), [(7, False), (8, True)])
def test_a_suggestion_is_made_before_there_is_room_for_it(concurrent: int, is_ahead: bool) -> None:  # noqa: FBT001
    """One for each eight trials at a time: a slot that falls free finds it waiting."""
    searcher = (
        f"{{name: bayesian, metric: loss, max_trials: 50, max_concurrent_trials: {concurrent}, initial_trials: 2}}"
    )
    world = World(submitted(searcher))
    answer_all(world)
    num_first = len(requests(world.events))
    world.run(1, loss=0.5)
    answer_all(world)
    assert len(requests(world.events)) == num_first + 1
    answer_all(world)
    waiting = [about for about in world.answers[EXPERIMENT] if about[0] > len(requests(world.events))]
    assert len(waiting) == is_ahead
    decided = world.run(2, loss=0.4)
    assert bool(requests(decided)) == is_ahead, "without a further question"


def answer_all(world: World) -> None:
    """Answer questions until none is asked."""
    world.settle()
    while asked := question(world.state.searches[EXPERIMENT], world.answers):
        about, posed = asked
        assert "costs" in posed.request
        proposal = Proposal(hyperparameters={"lr": 0.01}, origin="suggested", chosen=SUGGESTED)
        world.answers.setdefault(EXPERIMENT, {})[about] = proposal
        world.settle()


LEARNING = "{name: bayesian_asha, metric: loss, max_trials: 9, max_concurrent_trials: 3, initial_trials: 9, divisor: 3"


def learned(world: World) -> list[tuple[int, int | None, float | None]]:
    """What the model has heard: trial, units, cost."""
    results = world.state.searches[EXPERIMENT].knowledge.results
    return [(result.index, result.units, result.cost) for result in results]


@pytest.mark.parametrize("more", ["", ", stop_once: true"])
def test_a_model_learns_from_every_rung_that_a_trial_is_sent_to(more: str) -> None:
    world = World(submitted(f"{LEARNING}, max_length: 9{more}}}"))
    world.settle()
    for index in (1, 2, 3):
        world.run(index, loss=index / 10)
    world.after(allocated(1, 2), reported(1, 0.05, epoch=2), exited(1, epoch=2), released(1, 2))
    assert learned(world) == [(1, 1, 0.1), (2, 1, 0.2), (3, 1, 0.3), (1, 3, 0.05)]
    search = world.state.searches[EXPERIMENT]
    asked = search.method.propose(10, search.knowledge.results, [])
    assert isinstance(asked, GaussianProcessQuestion)
    assert asked.request["context"] == [[0.0], [0.0], [0.0], [pytest.approx(0.5)]], "a third of 9, logarithmically"
    assert asked.request["proposed_context"] == [1.0], "what it proposes trains to the end"


def test_a_model_learns_from_every_rung_that_a_trial_reports_at() -> None:
    world = World(submitted(f"{LEARNING}, max_time: 9, time_metric: batches}}"))
    world.settle()
    reports = (reported(1, loss, step=step) for step, loss in ((1, 0.9), (2, 0.8), (3, 0.5), (9, 0.4)))
    world.after(allocated(1), *reports)
    assert learned(world) == [(1, 1, 0.9), (1, 3, 0.5), (1, 9, 0.4)]


def test_another_name_of_a_method_is_the_same_method() -> None:
    ladder = "metric: loss, max_trials: 9, num_rungs: 3, divisor: 3, max_concurrent_trials: 4, max_length: 9"
    one, other = (World(submitted(f"{{name: {name}, {ladder}}}")) for name in ("asha", "async_halving"))
    for index in range(1, 5):
        assert one.settle() == other.settle()
        assert one.run(index, loss=index) == other.run(index, loss=index)
    assert any(isinstance(event, TrialRequested) for event in one.events)
