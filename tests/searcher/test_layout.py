"""What a search with a model lays out at submission stays when its `max_trials` is changed: the initial design, and the
units between which the model knows how far a trial has trained."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.searcher.decide import question
from services.searcher.method import Proposal, Question, Result
from services.searcher.methods import method_of, model_of, tournament_of
from services.searcher.search import Search
from services.searcher.snapshot import snapshots
from shared.config import Experiment, parse_experiment
from shared.config.limits import with_limits
from shared.decisions import Memory
from shared.events import SearchLimitsSet
from tests.searcher.world import EXPERIMENT, World, allocated, exited, released, reported, submitted

LADDER = (
    "{name: bayesian_asha, metric: loss, max_trials: 100, max_concurrent_trials: 1, initial_trials: 5, max_length: 256}"
)
LHS = "{name: bayesian, metric: loss, max_trials: TRIALS, max_concurrent_trials: 1, initial_trials: 8"


def limited(max_trials: int) -> SearchLimitsSet:
    return SearchLimitsSet(experiment_id=EXPERIMENT, max_trials=max_trials, max_concurrent_trials=None)


def search_of(world: World) -> Search:
    return world.state.searches[EXPERIMENT]


def asked(world: World) -> Question:
    found = question(search_of(world), world.answers)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("max_trials", [7, 15, 60, 5000])
def test_the_model_goes_on_to_see_a_rung_where_it_stands(max_trials: int) -> None:
    """Given trials that came to the lowest and the second of the rungs 4, 16, 64, 256; when max_trials becomes so few
    or many that another ladder would be laid out; then the model sees them where it saw them before."""
    world = World(submitted(LADDER))
    world.settle()
    tournament = search_of(world).tournament
    assert tournament is not None and tournament.brackets[0].plan.units == (4, 16, 64, 256)
    for index in (1, 2, 3, 4):
        world.run(index, loss=float(index))
    world.after(allocated(1, 2), reported(1, 0.5, epoch=2), exited(1, epoch=2), released(1, 2))
    world.run(5, loss=5.0)
    before = asked(world).request["context"]
    assert before == [[0.0], [0.0], [0.0], [0.0], [pytest.approx(1 / 3)], [0.0]]
    world.fold([limited(max_trials)])
    assert tournament.brackets[0].plan.units == (4, 16, 64, 256)
    assert asked(world).request["context"] == before


def test_the_design_goes_on_as_it_began(tmp_path: Path) -> None:
    """Given the first two of eight trials of a Latin hypercube; when only six trials are wanted; then the others are
    the hypercube's, which a restart from a snapshot does not change."""
    text = f"{LHS.replace('TRIALS', '20')}, initial_design: lhs}}"
    whole, changed = World(submitted(text)), World(submitted(text))
    for world in (whole, changed):
        world.settle()
    changed.run(1, loss=1.0)
    changed.after(limited(6))
    kept = snapshots(tmp_path, "searcher")
    kept.save("stream", 1, Memory(state=changed.state))
    found = kept.load("stream")
    assert found is not None
    restarted = found[1].state.searches[EXPERIMENT]
    for index in range(2, 7):
        wanted = search_of(whole).method.propose(index, [], [])
        assert search_of(changed).method.propose(index, [], []) == wanted
        assert restarted.method.propose(index, [], []) == wanted


def test_a_design_of_few_trials_is_all_of_them_and_more_trials_are_the_models() -> None:
    """Given a search of five trials; when it may have twenty; then its design was complete with five."""
    small = parse_experiment(
        f"entrypoint: x\nsearcher: {LHS.replace('TRIALS', '5')}, initial_design: lhs}}\n"
        "hyperparameters: {x: {type: double, minval: 0, maxval: 5}}"
    ).with_seed(3)
    method = method_of(more(small, 20), 5)
    drawn = [method.propose(index, [], []) for index in range(1, 6)]
    trials = [proposal.hyperparameters for proposal in drawn if isinstance(proposal, Proposal)]
    assert sorted(int(trial["x"]) for trial in trials) == [0, 1, 2, 3, 4], "one in each fifth"
    results = [Result(index=index, hyperparameters=trial, cost=1.0) for index, trial in enumerate(trials, start=1)]
    assert method.num_trials == 20 and not isinstance(method.propose(6, results, []), Proposal)


def more(experiment: Experiment, max_trials: int) -> Experiment:
    return with_limits(experiment, {"max_trials": max_trials, "max_concurrent_trials": None})


@given(
    submitted_trials=st.integers(1, 300),
    changed=st.lists(st.integers(1, 300), max_size=3),
    divisor=st.sampled_from([2, 3, 4]),
    mode=st.sampled_from(["aggressive", "standard", "conservative"]),
    units=st.integers(1, 500),
)
def test_the_models_units_are_those_of_the_ladders_that_are_played(
    submitted_trials: int, changed: list[int], divisor: int, mode: str, units: int
) -> None:
    experiment = parse_experiment(
        f"entrypoint: x\nsearcher: {{name: bayesian_asha, metric: loss, max_trials: {submitted_trials}, mode: {mode},"
        f" divisor: {divisor}, max_length: {units}, judge_by: prediction}}\n"
        "hyperparameters: {x: {type: double, minval: 0, maxval: 1}}"
    )
    played = tournament_of(experiment)
    assert played is not None
    lowest = min(bracket.plan.units[0] for bracket in played.brackets)
    highest = max(bracket.plan.units[-1] for bracket in played.brackets)
    for max_trials in changed:
        experiment = more(experiment, max_trials)
    model = model_of(experiment, submitted_trials)
    assert model is not None and model.units == (lowest, highest)
    assert model.num_initial == min(8, submitted_trials)
    assert method_of(experiment, submitted_trials) == model
