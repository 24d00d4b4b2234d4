"""Histories of searches whose trials park at rungs: a model that fails, patience, people who end what waits, rungs of
the same length."""

import pytest

from services.searcher.decide import question
from services.searcher.state import State
from shared.events import (
    Event,
    ExperimentCompleted,
    ExperimentFailed,
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialEnd,
    TrialExtended,
)
from shared.ids import trial_id
from tests.searcher.world import EXPERIMENT, World, allocated, exited, names, released, reported, requests, submitted

ASHA = "{name: asha, metric: loss, num_rungs: 2, divisor: 2, max_trials: 4, max_concurrent_trials: 4, max_length: 4"
MODEL = (
    "{name: bayesian_asha, metric: loss, max_trials: 8, max_concurrent_trials: 1, initial_trials: 2, divisor: 2,"
    " max_rungs: 2, max_length: 8}"
)
EQUAL = "{name: asha, metric: loss, num_rungs: 4, divisor: 4, max_trials: 16, max_concurrent_trials: 16, max_length: 10"


def begun(searcher: str) -> World:
    world = World(submitted(searcher, more="max_restarts: 0"))
    world.settle()
    return world


def run_next(world: World, losses: dict[int, float] | float) -> list[Event]:
    """Train the trial to its target that waits longest; return what comes of it."""
    search = world.state.searches[EXPERIMENT]
    assert search.tournament is not None
    standings = search.tournament.standings
    waiting = [trial for trial in search.open.values() if standings[trial.index].status == "running"]
    trial = min(waiting, key=lambda one: one.freed_seq)
    loss = losses if isinstance(losses, float) else losses[trial.index]
    epoch = trial.epoch + 1
    index = trial.index
    return world.after(allocated(index, epoch), reported(index, loss, epoch=epoch), exited(index, epoch=epoch),
                       released(index, epoch))  # fmt: skip


def run_all(world: World, losses: dict[int, float]) -> list[Event]:
    decided: list[Event] = []
    while EXPERIMENT in world.state.searches:
        decided += run_next(world, losses)
    return decided


def extended(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.trial_id, event.target) for event in events if isinstance(event, TrialExtended)]


class TestAModelThatFails:
    def parked(self) -> World:
        """One trial is parked, and nobody trains."""
        world = begun(MODEL)
        assert names(run_next(world, 1.0)) == ["TrialRequested"]
        assert names(run_next(world, 2.0)) == ["TrialExtended"]
        assert names(run_next(world, 0.5)) == ["TrialClosed"]
        return world

    def test_ends_the_search_when_all_that_is_left_is_parked(self) -> None:
        world = self.parked()
        asked = question(world.state.searches[EXPERIMENT], world.answers)
        assert asked is not None
        world.answers[EXPERIMENT] = {asked[0]: "LinAlgError: no"}
        closed, ended = world.settle()
        assert isinstance(closed, TrialClosed) and isinstance(ended, ExperimentFailed)
        assert (closed.trial_id, closed.end, closed.metric) == (trial_id(EXPERIMENT, 2), TrialEnd.COMPLETED, 2.0)
        assert closed.reason == "the search stopped: LinAlgError: no"
        assert ended.reason == "the search stopped after 2 of 8 trials: LinAlgError: no"
        assert world.state == State()

    def test_lets_those_train_that_were_promoted(self) -> None:
        world = begun(MODEL.replace("max_concurrent_trials: 1", "max_concurrent_trials: 2"))
        run_next(world, 1.0)
        assert names(run_next(world, 2.0)) == ["TrialExtended"]
        asked = question(world.state.searches[EXPERIMENT], world.answers)
        assert asked is not None
        world.answers[EXPERIMENT] = {asked[0]: "LinAlgError: no"}
        assert world.settle() == []
        assert names(run_next(world, 0.5)) == ["TrialClosed", "TrialClosed", "ExperimentFailed"]
        assert world.state == State()


class TestPatience:
    @pytest.mark.parametrize("rule", ["", ", stop_once: true"])
    def test_counts_who_came_to_a_first_rung(self, rule: str) -> None:
        world = begun(
            "{name: asha, metric: loss, max_trials: 200, num_rungs: 3, divisor: 4, max_concurrent_trials: 8,"
            f" max_length: 64, patience: {{trials: 20}}{rule}}}"
        )
        decided = run_all(world, {1: 0.9} | dict.fromkeys(range(2, 201), 1.0))
        ended = decided[-1]
        assert isinstance(ended, ExperimentCompleted)
        assert ended.reason == "no progress: 20 trials were tried and loss got no better"
        assert len(requests(world.events)) == 28, "21 were tried, and seven more were on their way"

    def test_counts_each_trial_once(self) -> None:
        world = begun(ASHA + ", patience: {trials: 4}}")
        decided = run_all(world, {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4})
        assert sum(isinstance(event, TrialClosed) for event in decided) == 4
        assert isinstance(decided[-1], ExperimentCompleted) and decided[-1].reason == ""

    def test_is_renewed_by_one_that_went_on(self) -> None:
        world = begun(ASHA + ", patience: {trials: 3}}")
        for index in (1, 2, 3):
            world.run(index, loss=index / 10)
        world.after(allocated(1, 2), reported(1, 0.01, epoch=2), exited(1, epoch=2), released(1, 2))
        assert world.state.searches[EXPERIMENT].ending is None
        assert EXPERIMENT in world.state.searches and names(world.run(4, loss=0.5))[-1] != "ExperimentCompleted"


def test_a_parked_trial_that_a_user_ends_gives_its_place_to_the_next() -> None:
    world = begun(ASHA + "}")
    world.run(1, loss=0.5)
    assert extended(world.run(2, loss=0.1)) == [(trial_id(EXPERIMENT, 2), 4)]
    (closed,) = world.after(TrialCanceled(experiment_id=EXPERIMENT, trial_id=trial_id(EXPERIMENT, 1)))
    assert isinstance(closed, TrialClosed) and closed.end is TrialEnd.CANCELED
    world.run(3, loss=0.6)
    decided = world.run(4, loss=0.7)
    assert extended(decided) == [(trial_id(EXPERIMENT, 3), 4)]
    assert [event.reason for event in decided if isinstance(event, TrialClosed)] == [
        "stopped at rung 1 of 2, 2 units: place 3 of 4, 2 went on"
    ]


def test_under_ignore_a_parked_trial_that_a_user_ends_counts_for_nothing() -> None:
    world = begun(ASHA + ", on_failure: ignore}")
    world.run(1, loss=0.5)
    assert extended(world.run(2, loss=0.1)) == [(trial_id(EXPERIMENT, 2), 4)]
    world.after(TrialCanceled(experiment_id=EXPERIMENT, trial_id=trial_id(EXPERIMENT, 1)))
    world.run(3, loss=0.6)
    decided = world.run(4, loss=0.7)
    assert extended(decided) == [], "one of three goes on"
    assert "place 3 of 3, 1 went on" in "".join(e.reason for e in decided if isinstance(e, TrialClosed))


def test_more_trials_make_as_many_go_on_as_if_they_had_been_there_from_the_beginning() -> None:
    ladder = "num_rungs: 3, divisor: 4, max_concurrent_trials: 4, max_length: 64"
    world = begun(f"{{name: asha, metric: loss, max_trials: 16, {ladder}}}")
    losses = {index: (index * 37 % 64) / 64 for index in range(1, 65)}
    search = world.state.searches[EXPERIMENT]
    assert search.tournament is not None
    rung = search.tournament.brackets[0].rungs[0]
    while len(rung.entries) < 16:
        run_next(world, losses)
    world.after(SearchLimitsSet(experiment_id=EXPERIMENT, max_trials=64))
    run_all(world, losses)
    rungs = [event.rung for event in world.events if isinstance(event, TrialExtended)]
    assert rungs.count(2) >= 16 and rungs.count(3) >= 4
    assert rung.num_gone == 12 and search.tournament.brackets[0].rungs[1].num_missing == 0


@pytest.mark.parametrize("rule", ["}", ", stop_once: true}"])
def test_rungs_of_the_same_length_are_passed_by_the_metric_that_is_known(rule: str) -> None:
    world = begun(EQUAL + rule)
    search = world.state.searches[EXPERIMENT]
    assert search.tournament is not None
    assert search.tournament.brackets[0].plan.units == (1, 1, 2, 10)
    decided = [event for index in range(1, 17) for event in world.run(index, loss=index / 10)]
    assert extended(decided) == [(trial_id(EXPERIMENT, 1), 2)], "who is told to go on has something to train"
    told = next(event for event in decided if isinstance(event, TrialExtended))
    assert told.judgement is not None and (told.rung, told.judgement.rung, told.judgement.metric) == (3, 2, 0.1)
