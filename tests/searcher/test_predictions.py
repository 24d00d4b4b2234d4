"""Histories of searches whose trials are judged at rungs by what a model says that they come to in the end."""

from services.searcher.decide import About, is_wanted, question
from services.searcher.method import Prediction
from services.searcher.rungs import Status
from services.searcher.search import Search
from services.searcher.state import State
from shared.events import ExperimentCompleted, FinalMetricPredicted, TrialCanceled, TrialClosed, TrialEnd, TrialExtended
from shared.ids import trial_id
from tests.searcher.world import EXPERIMENT, World, allocated, exited, names, paused, released, reported, submitted

LADDER = "divisor: 3, bracket_rungs: [2], max_trials: 3, max_concurrent_trials: 3, initial_trials: 3, max_length: 900"
PREDICTION = f"{{name: bayesian_asha, metric: loss, {LADDER}, judge_by: prediction}}"


def world_of(searcher: str = PREDICTION) -> World:
    world = World(submitted(searcher))
    world.settle()
    return world


def search_of(world: World) -> Search:
    return world.state.searches[EXPERIMENT]


def status(world: World, index: int) -> Status:
    tournament = search_of(world).tournament
    assert tournament is not None
    return tournament.standings[index].status


def asked(world: World) -> About | None:
    found = question(search_of(world), world.answers)
    return found[0] if found else None


def predict(world: World, mean: float | str, **others: float) -> None:
    """Answer the next question."""
    about = asked(world)
    assert about is not None
    answer = (
        mean
        if isinstance(mean, str)
        else Prediction(mean=mean, std=0.1, others={int(i[1:]): others[i] for i in others})
    )
    world.answers.setdefault(EXPERIMENT, {})[about] = answer


def test_a_trial_waits_at_its_rung_until_the_model_has_spoken() -> None:
    world = world_of()
    assert world.run(1, loss=0.5) == []
    search = search_of(world)
    assert search.tournament is not None
    assert status(world, 1) is Status.ARRIVED
    assert asked(world) == (1, search.tournament.standings[1].seq)
    predict(world, 0.3)
    (told,) = world.settle()
    assert told == FinalMetricPredicted(
        experiment_id=EXPERIMENT, trial_id=trial_id(EXPERIMENT, 1), rung=1, units=300, num_observed=1, mean=0.3, std=0.1
    )
    assert status(world, 1) is Status.PARKED
    assert search.tournament.brackets[0].rungs[0].entries == [(0.3, 1)]


def test_the_model_decides_who_goes_on_and_thinks_again_about_those_before() -> None:
    world = world_of()
    for index, loss in enumerate((0.1, 0.2, 0.3), start=1):
        world.run(index, loss=loss)
    predict(world, 0.5)
    world.settle()
    predict(world, 0.6)
    world.settle()
    predict(world, 0.7, _1=0.9, _2=0.4)  # the one that learned slowest is expected to be third, the second to be best
    decided = world.settle()
    assert names(decided) == ["FinalMetricPredicted", "TrialExtended", "TrialClosed", "TrialClosed"]
    extended = decided[1]
    assert isinstance(extended, TrialExtended) and extended.trial_id == "exp-2"
    assert extended.judgement is not None and extended.judgement.metric == 0.4
    decided = world.after(allocated(2, 2), reported(2, 0.05, epoch=2), exited(2, epoch=2), released(2, 2))
    assert isinstance(decided[-1], ExperimentCompleted) and decided[-1].best_metric == 0.05, (
        "the last rung needs no model"
    )
    assert world.state == State()


def test_larger_may_be_better() -> None:
    world = world_of(PREDICTION.replace("metric: loss", "metric: loss, smaller_is_better: false"))
    for index in (1, 2, 3):
        world.run(index, loss=0.1 * index)
        predict(world, -1.0 / index)  # as costs: the first is the best
        world.settle()
    told = [event for event in world.events if isinstance(event, FinalMetricPredicted)]
    assert [event.mean for event in told] == [1.0, 0.5, 1 / 3]
    assert [event.trial_id for event in world.events if isinstance(event, TrialExtended)] == ["exp-1"]


def test_where_the_model_fails_the_metric_decides() -> None:
    world = world_of()
    for index, loss in enumerate((0.1, 0.2, 0.3), start=1):
        world.run(index, loss=loss)
        predict(world, "no core is free")
        world.settle()
    told = [event for event in world.events if isinstance(event, FinalMetricPredicted)]
    assert [(event.mean, event.reason) for event in told] == [(None, "no core is free")] * 3
    assert [event.trial_id for event in world.events if isinstance(event, TrialExtended)] == ["exp-1"]


def test_a_trial_that_is_canceled_while_it_waits_holds_nobody_up() -> None:
    world = world_of()
    world.run(1, loss=0.5)
    about = asked(world)
    assert about is not None and is_wanted(search_of(world), about)
    (closed,) = world.after(TrialCanceled(trial_id=trial_id(EXPERIMENT, 1), experiment_id=EXPERIMENT))
    assert isinstance(closed, TrialClosed) and closed.end is TrialEnd.CANCELED
    assert asked(world) is None and not is_wanted(search_of(world), about)
    for index in (2, 3):
        world.run(index, loss=0.1 * index)
        predict(world, 0.1 * index)
        world.settle()
    assert [event.trial_id for event in world.events if isinstance(event, TrialExtended)] == ["exp-2"]


def test_a_pause_keeps_nobody_from_being_judged() -> None:
    world = world_of()
    world.after(paused())
    world.run(1, loss=0.5)
    predict(world, 0.3)
    assert names(world.settle()) == ["FinalMetricPredicted"]


def test_by_metric_nothing_is_asked() -> None:
    world = world_of(PREDICTION.replace(", judge_by: prediction", ""))
    world.run(1, loss=0.5)
    assert asked(world) is None
