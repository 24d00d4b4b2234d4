"""Histories of searches whose trials compete on rungs."""

from pathlib import Path

from msgspec.structs import replace

from services.searcher.snapshot import snapshots
from services.searcher.state import State
from shared.decisions import Memory
from shared.events import (
    Event,
    ExperimentCompleted,
    Judgement,
    Outcome,
    ReleaseReason,
    TrialClosed,
    TrialEnd,
    TrialExtended,
    TrialRequested,
    TrialStopped,
)
from tests.searcher.world import (
    World,
    allocated,
    canceled,
    diverged,
    exited,
    names,
    released,
    reported,
    requests,
    submitted,
)

COMMON = "name: asha, metric: loss, num_rungs: 2, divisor: 3, max_trials: 3"
TIME = f"{{{COMMON}, max_concurrent_trials: 3, max_time: 900, time_metric: batches}}"
PROMOTE = f"{{{COMMON}, max_concurrent_trials: 1, max_length: 900}}"


def world_of(searcher: str, more: str = "") -> World:
    world = World(submitted(searcher, more=more))
    world.settle()
    return world


def closings(events: list[Event]) -> list[tuple[str, TrialEnd, str]]:
    return [(event.trial_id, event.end, event.reason) for event in events if isinstance(event, TrialClosed)]


def test_trials_are_told_their_first_target_and_their_bracket() -> None:
    (request,) = requests(World(submitted(PROMOTE)).settle())
    assert (request.bracket, request.target) == (0, 300)
    first, *_ = requests(World(submitted(TIME)).settle())
    assert (first.bracket, first.target) == (0, None)


def test_the_best_of_a_rung_is_extended_and_the_others_are_closed() -> None:
    world = world_of(PROMOTE)
    assert names(world.run(1, loss=0.3)) == ["TrialRequested"]
    assert names(world.run(2, loss=0.1)) == ["TrialRequested"]
    decided = world.run(3, loss=0.2)
    extended = next(event for event in decided if isinstance(event, TrialExtended))
    assert (extended.trial_id, extended.rung, extended.target) == ("exp-2", 2, 900)
    assert closings(decided) == [
        ("exp-3", TrialEnd.COMPLETED, "stopped at rung 1 of 2, 300 units: place 2 of 3, 1 went on"),
        ("exp-1", TrialEnd.COMPLETED, "stopped at rung 1 of 2, 300 units: place 3 of 3, 1 went on"),
    ]
    decided = world.after(allocated(2, 2), reported(2, 0.05, epoch=2), exited(2, epoch=2), released(2, 2))
    assert closings(decided) == [("exp-2", TrialEnd.COMPLETED, "reached the last rung, 900 units")]
    assert isinstance(decided[-1], ExperimentCompleted)
    assert decided[-1].best_metric == 0.05
    assert world.state == State()


def test_every_judgement_is_told_with_what_it_went_by() -> None:
    world = world_of(PROMOTE.replace("metric: loss", "metric: loss, smaller_is_better: false"))
    world.run(1, loss=0.3)
    world.run(2)
    decided = world.run(3, loss=0.4)
    told = {event.trial_id: event.judgement for event in decided if isinstance(event, TrialExtended | TrialClosed)}
    best = Judgement(
        bracket=0, rung=1, num_rungs=2, units=300, place=1, num_entered=3, num_kept=1, metric=0.4, threshold=0.4
    )
    assert told == {
        "exp-3": best,
        "exp-1": replace(best, place=2, metric=0.3),
        "exp-2": replace(best, place=3, metric=None),
    }


def test_the_last_report_before_the_target_counts() -> None:
    world = world_of(PROMOTE)
    world.after(allocated(1), reported(1, 0.0), reported(1, 0.3), exited(1), released(1))
    world.run(2, loss=0.1)
    decided = world.run(3, loss=0.2)
    assert [event.trial_id for event in decided if isinstance(event, TrialExtended)] == ["exp-2"]


def test_a_trial_without_a_validation_counts_as_the_worst() -> None:
    world = world_of(PROMOTE)
    world.run(1)
    world.run(2, loss=100)
    decided = world.run(3, loss=200)
    assert [event.trial_id for event in decided if isinstance(event, TrialExtended)] == ["exp-2"]


def test_a_trial_that_diverged_counts_as_the_worst_whatever_it_was_before() -> None:
    world = world_of(PROMOTE)
    world.after(allocated(1), reported(1, 0.1), diverged(1, step=300), exited(1), released(1))
    world.after(allocated(2), diverged(2), reported(2, 0.5, step=300), exited(2), released(2))
    decided = world.run(3, loss=0.7)
    assert [event.trial_id for event in decided if isinstance(event, TrialExtended)] == ["exp-2"], "it recovered"
    (closed,) = (event for event in decided if isinstance(event, TrialClosed) and event.trial_id == "exp-1")
    assert closed.judgement is not None and (closed.judgement.place, closed.judgement.metric) == (3, None)
    assert closed.metric == 0.1, "its best validation is what it was"


def test_a_trial_that_diverged_is_stopped_while_it_runs() -> None:
    world = world_of(TIME)
    world.after(allocated(1), allocated(2), allocated(3), reported(1, 0.9, step=300))
    assert world.after(diverged(2, step=299)) == []
    (stopped,) = world.after(diverged(2, step=300))
    assert isinstance(stopped, TrialStopped)
    assert stopped.reason == "stopped at rung 1 of 2, 300 units: place 2 of 2 so far, 1 went on"
    (ended,) = world.after(diverged(1, step=900))
    assert isinstance(ended, TrialStopped) and ended.reason == "reached the last rung, 900 units"


def test_a_trial_that_fails_for_good_holds_nobody_up() -> None:
    world = world_of(PROMOTE, more="max_restarts: 0")
    world.run(1, loss=0.3)
    world.run(2, loss=0.2)
    decided = world.run(3, outcome=Outcome.FAILED)
    assert names(decided) == ["TrialClosed", "TrialExtended", "TrialClosed"]
    assert names(world.after(allocated(2, 2), exited(2, Outcome.FAILED, epoch=2), released(2, 2))) == [
        "TrialClosed",
        "ExperimentCompleted",
    ]


def test_a_retried_trial_still_trains_for_its_rung() -> None:
    world = world_of(PROMOTE)
    assert names(world.run(1, outcome=Outcome.FAILED)) == ["TrialRetried"]
    decided = world.after(allocated(1, 2), reported(1, 0.1, epoch=2), exited(1, epoch=2), released(1, 2))
    assert names(decided) == ["TrialRequested"]


def test_a_trial_that_is_not_among_the_best_is_stopped_while_it_runs() -> None:
    world = world_of(TIME)
    world.after(allocated(1), allocated(2), allocated(3))
    assert world.after(reported(1, 0.1, step=300), reported(2, 0.5, step=299)) == []
    (stopped,) = world.after(reported(2, 0.5, step=301))
    reason = "stopped at rung 1 of 2, 300 units: place 2 of 2 so far, 1 went on"
    assert isinstance(stopped, TrialStopped)
    assert (stopped.trial_id, stopped.rung, stopped.reason) == ("exp-2", 1, reason)
    assert world.after(reported(2, 0.01, step=310)) == [], "judged once"
    decided = world.after(released(2, 1, ReleaseReason.PREEMPTED))
    assert closings(decided) == [("exp-2", TrialEnd.COMPLETED, reason)]


def test_a_trial_is_stopped_at_the_end_of_max_time() -> None:
    world = world_of(TIME)
    (stopped,) = world.after(allocated(1), reported(1, 0.1, step=900))
    assert isinstance(stopped, TrialStopped)
    assert closings(world.after(exited(1), released(1))) == [
        ("exp-1", TrialEnd.COMPLETED, "reached the last rung, 900 units")
    ]


def test_a_stopped_trial_that_fails_on_its_way_out_was_stopped() -> None:
    world = world_of(TIME)
    world.after(allocated(1), reported(1, 0.1, step=900))
    assert closings(world.after(exited(1, Outcome.FAILED)))[0][1] is TrialEnd.COMPLETED


def test_a_script_may_end_before_it_is_stopped_and_another_trial_takes_its_place() -> None:
    world = world_of("{name: asha, metric: loss, num_rungs: 2, max_trials: 2, max_concurrent_trials: 1,"
                     " max_time: 900, time_metric: epochs}")  # fmt: skip
    decided = world.run(1, loss=0.1)
    assert names(decided) == ["TrialClosed", "TrialRequested"]


def test_an_experiment_canceled_with_trials_on_its_rungs_leaves_nothing() -> None:
    world = world_of(PROMOTE)
    world.run(1, loss=0.1)
    assert names(world.after(canceled())) == ["TrialClosed", "TrialClosed", "ExperimentStopped"]
    assert world.state == State()


def test_a_snapshot_holds_the_rungs(tmp_path: Path) -> None:
    world = world_of(PROMOTE, more="max_restarts: 0")
    world.run(1, loss=0.1)
    world.run(2)
    snapshots(tmp_path, "searcher").save("stream", 9, Memory(state=world.state))
    found = snapshots(tmp_path, "searcher").load("stream")
    assert found is not None
    assert found[1].state == world.state


def test_trials_depend_on_the_seed_and_their_index_alone() -> None:
    def drawn(searcher: str) -> list[TrialRequested]:
        return requests(World(submitted(searcher)).settle())

    one = drawn("{name: asha, metric: loss, num_rungs: 2, max_trials: 9, max_concurrent_trials: 9, max_length: 9}")
    other = drawn("{name: adaptive_asha, metric: loss, max_trials: 9, max_concurrent_trials: 0, max_length: 9}")
    same = min(len(one), len(other))
    assert [event.hyperparameters for event in one[:same]] == [event.hyperparameters for event in other[:same]]
