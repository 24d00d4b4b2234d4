"""Histories of what people ask of a live search, of failures, and of searches that end early."""

import math

import pytest

from services.searcher.decide import question
from services.searcher.state import State
from shared.events import (
    Event,
    ExperimentCompleted,
    ExperimentFailed,
    MetricReported,
    Outcome,
    ReleaseReason,
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialEnd,
    TrialExtended,
    TrialRequested,
    TrialStopped,
)
from shared.ids import trial_id
from tests.searcher.world import (
    AGENT,
    EXPERIMENT,
    World,
    allocated,
    diverged,
    exited,
    ids,
    names,
    released,
    reported,
    requests,
    submitted,
)

PROMOTE = "{name: asha, metric: loss, num_rungs: 2, divisor: 2, max_trials: 4, max_concurrent_trials: 4, max_length: 8"
T1, T2, T3 = (trial_id(EXPERIMENT, index) for index in (1, 2, 3))


def of_type(events: list[Event], kind: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def limits(**given: int) -> Event:
    return SearchLimitsSet(experiment_id=EXPERIMENT, **given)


def cancel(index: int) -> Event:
    return TrialCanceled(trial_id=trial_id(EXPERIMENT, index), experiment_id=EXPERIMENT)


def begun(searcher: str, more: str = "") -> World:
    world = World(submitted(searcher, more=more))
    world.settle()
    return world


def random_search(extra: str = "", trials: int = 4, concurrent: int = 2) -> str:
    return f"{{name: random, metric: loss, max_trials: {trials}, max_concurrent_trials: {concurrent}{extra}}}"


class TestATrialCanceledByHand:
    def test_that_waits_is_closed_at_once_and_the_search_goes_on(self) -> None:
        world = begun(random_search())
        closed, requested = world.after(cancel(1))
        assert isinstance(closed, TrialClosed)
        assert (closed.trial_id, closed.end, closed.reason) == (T1, TrialEnd.CANCELED, "canceled by a user")
        assert isinstance(requested, TrialRequested) and requested.index == 3

    def test_that_runs_is_stopped_and_closed_when_its_slots_are_free(self) -> None:
        world = begun(random_search())
        assert names(world.after(allocated(1), reported(1, 0.5), cancel(1))) == ["TrialStopped"]
        decided = world.after(released(1, reason=ReleaseReason.PREEMPTED))
        assert names(decided) == ["TrialClosed", "TrialRequested"]
        assert isinstance(decided[0], TrialClosed) and decided[0].metric == 0.5

    def test_that_fails_meanwhile_is_not_retried(self) -> None:
        world = begun(random_search())
        world.after(allocated(1), cancel(1))
        decided = world.after(exited(1, Outcome.FAILED), released(1))
        assert [event.end for event in decided if isinstance(event, TrialClosed)] == [TrialEnd.CANCELED]

    def test_that_completes_meanwhile_has_completed(self) -> None:
        world = begun(random_search())
        world.after(allocated(1), cancel(1))
        decided = world.after(exited(1), released(1))
        assert [event.end for event in decided if isinstance(event, TrialClosed)] == [TrialEnd.COMPLETED]

    def test_is_not_the_best_of_the_experiment(self) -> None:
        world = begun(random_search(trials=2))
        world.after(allocated(1), reported(1, 0.1), cancel(1), released(1, reason=ReleaseReason.PREEMPTED))
        assert world.run(2, loss=0.5)[-1] == ExperimentCompleted(
            experiment_id=EXPERIMENT, best_trial_id=T2, best_metric=0.5
        )

    def test_twice_is_canceled_once(self) -> None:
        world = begun(random_search())
        assert names(world.after(cancel(1), cancel(1))) == ["TrialClosed", "TrialRequested"]
        assert world.after(cancel(1)) == []

    def test_on_its_way_to_a_rung_holds_nobody_up(self) -> None:
        world = begun(PROMOTE + "}")
        for index in (2, 3, 4):
            world.run(index, loss=index)
        decided = world.after(cancel(1))
        assert names(decided)[0] == "TrialClosed"
        told = {event.trial_id for event in decided if isinstance(event, TrialExtended | TrialClosed)}
        assert {T1, T3} <= told, "the rung is judged without it"

    def test_at_a_rung_leaves_a_search_that_ends(self) -> None:
        world = begun(PROMOTE + "}")
        world.run(1, loss=0.1)
        assert names(world.after(cancel(1))) == ["TrialClosed"]
        for index in (2, 3, 4):
            world.run(index, loss=index)
        finish(world)
        assert world.state == State()


def finish(world: World) -> list[Event]:
    """Run every trial that is waiting until the search has ended."""
    decided: list[Event] = world.settle()
    for _ in range(200):
        search = world.state.searches.get(EXPERIMENT)
        if search is None:
            return decided
        for trial in list(search.open.values()):
            standing = search.tournament.standings[trial.index] if search.tournament else None
            if standing is None or standing.status == "running":
                epoch = trial.epoch + 1
                events = [allocated(trial.index, epoch), reported(trial.index, trial.index, epoch=epoch)]
                decided += world.after(*events, exited(trial.index, epoch=epoch), released(trial.index, epoch))
    raise AssertionError("the search never ends")


class TestAFailedTrial:
    @pytest.mark.parametrize("policy", ["worst", "ignore", "retry"])
    @pytest.mark.parametrize(
        "rule", [", max_length: 8}", ", max_length: 8, stop_once: true}", ", max_time: 8, time_metric: batches}"]
    )
    def test_never_hangs_a_rung(self, policy: str, rule: str) -> None:
        searcher = PROMOTE.removesuffix(", max_length: 8") + f", on_failure: {policy}" + rule
        world = begun(searcher, "max_restarts: 0")
        world.after(allocated(2), exited(2, Outcome.FAILED), released(2))
        decided = finish(world)
        assert world.state == State()
        assert isinstance(decided[-1], ExperimentCompleted)
        assert len(requests([*world.events])) == 4, "the budget is what it was"

    def test_counts_as_the_worst_at_its_rung_by_default(self) -> None:
        world = begun(PROMOTE + "}", "max_restarts: 0")
        for index in (1, 2, 3):
            world.after(allocated(index), exited(index, Outcome.FAILED), released(index))
        decided = world.run(4, loss=0.5)
        assert [event.trial_id for event in decided if isinstance(event, TrialExtended)] == [trial_id(EXPERIMENT, 4)]

    def test_that_is_ignored_makes_no_other_look_better(self) -> None:
        world = begun(PROMOTE + ", on_failure: ignore}", "max_restarts: 0")
        world.run(1, loss=0.5)
        decided = world.after(allocated(2), exited(2, Outcome.FAILED), released(2))
        assert names(decided) == ["TrialClosed"], "one of one is not among the best half"
        search = world.state.searches[EXPERIMENT]
        assert search.tournament and search.tournament.brackets[0].rungs[0].num_missing == 1

    def test_has_its_configuration_tried_once_more(self) -> None:
        world = begun(random_search(", on_failure: retry"), "max_restarts: 0")
        first = requests(world.events)[0]
        again = requests(world.run(1, outcome=Outcome.FAILED))[0]
        assert (again.index, again.hyperparameters, again.retry_of) == (3, first.hyperparameters, T1)
        assert again.origin == f"the configuration that trial {T1} failed with, once more"
        assert again.seed != first.seed
        after = requests(world.run(3, outcome=Outcome.FAILED))
        assert [request.retry_of for request in after] == [None], "once is enough"

    @pytest.mark.parametrize("max_trials", [3, 5])
    def test_is_tried_once_more_after_what_the_file_lays_out(self, max_trials: int) -> None:
        given = "points_to_evaluate: [{lr: 0.001}, {lr: 0.002}, {lr: 0.003}]"
        world = begun(random_search(f", on_failure: retry, {given}", max_trials, concurrent=1), "max_restarts: 0")
        world.run(1, outcome=Outcome.FAILED)
        finish(world)
        tried = [request.hyperparameters["lr"] for request in requests(world.events)]
        assert tried[:3] == [0.001, 0.002, 0.003], "none of the given ones is skipped"
        assert tried[3:4] == [0.001][: max_trials - 3]

    def test_of_a_latin_hypercube_leaves_no_stratum_untried(self) -> None:
        design = "initial_trials: 4, initial_design: lhs, on_failure: retry"
        searcher = f"{{name: bayesian, metric: loss, max_trials: 9, max_concurrent_trials: 1, {design}}}"
        world = begun(searcher, "max_restarts: 0")
        for index in range(1, 5):
            world.run(index, outcome=Outcome.FAILED if index < 3 else Outcome.COMPLETED, loss=1)
        exponents = [math.log10(request.hyperparameters["lr"]) for request in requests(world.events)]
        assert {int((exponent + 4) / 3 * 4) for exponent in exponents[:4]} == {0, 1, 2, 3}
        assert requests(world.events)[4].retry_of == T1

    def test_of_a_model_based_search_is_no_observation_when_it_is_ignored(self) -> None:
        searcher = (
            "{name: bayesian, metric: loss, max_trials: 9, max_concurrent_trials: 1, initial_trials: 5"
            ", on_failure: POLICY}"
        )
        for policy, known in (("worst", 2), ("ignore", 1), ("retry", 1)):
            world = begun(searcher.replace("POLICY", policy), "max_restarts: 0")
            world.run(1, loss=0.5)
            world.run(2, outcome=Outcome.FAILED)
            results = world.state.searches[EXPERIMENT].knowledge.results
            assert sum(not result.is_missing for result in results) == known, policy

    def test_of_a_hopeless_search_ends_it_by_patience(self) -> None:
        world = begun(random_search(", patience: {trials: 2}"), "max_restarts: 0")
        world.run(1, outcome=Outcome.FAILED)
        decided = world.run(2, outcome=Outcome.FAILED)
        assert names(decided)[:2] == ["TrialClosed", "TrialStopped"]
        assert isinstance(decided[-1], ExperimentFailed)


class TestAGoal:
    def test_that_is_reached_stops_what_runs_and_completes_the_experiment(self) -> None:
        world = begun(random_search(", goal: 0.2"))
        world.after(allocated(1), allocated(2), reported(2, 0.9))
        stopped = world.after(reported(1, 0.15))
        assert names(stopped) == ["TrialStopped", "TrialStopped"]
        reason = "trial 1 reached the goal: loss 0.15, of 0.2 asked for"
        assert [event.reason for event in stopped if isinstance(event, TrialStopped)] == [
            f"the search is over: {reason}"
        ] * 2
        world.after(released(1, reason=ReleaseReason.PREEMPTED))
        decided = world.after(released(2, reason=ReleaseReason.PREEMPTED))
        assert decided[-1] == ExperimentCompleted(
            experiment_id=EXPERIMENT, best_trial_id=T1, best_metric=0.15, reason=reason
        )
        assert world.state == State()

    def test_is_not_reached_by_what_is_not_finite(self) -> None:
        world = begun("{name: single, metric: loss, smaller_is_better: false, goal: 5.0}")
        assert world.after(allocated(1), diverged(1)) == []
        assert names(world.after(reported(1, 6.0, step=20))) == ["TrialStopped"]

    def test_goes_by_the_metrics_direction(self) -> None:
        world = begun("{name: single, metric: accuracy, smaller_is_better: false, goal: 0.98}")
        assert world.after(allocated(1), reported(1, 0.97, metric="accuracy")) == []
        assert names(world.after(reported(1, 0.98, metric="accuracy", step=20))) == ["TrialStopped"]

    def test_reached_by_a_void_report_is_not_reached(self) -> None:
        world = begun(random_search(", goal: 0.2"))
        assert world.after(allocated(1), released(1, reason=ReleaseReason.AGENT_LOST), reported(1, 0.1)) == []

    def test_closes_waiting_trials_too_and_those_without_a_validation_as_canceled(self) -> None:
        world = begun(random_search(", goal: 0.2"))
        decided = world.run(1, loss=0.1)
        ends = {event.trial_id: event.end for event in decided if isinstance(event, TrialClosed)}
        assert ends == {T1: TrialEnd.COMPLETED, T2: TrialEnd.CANCELED}
        assert isinstance(decided[-1], ExperimentCompleted)

    def test_ends_a_search_with_trials_parked_at_a_rung(self) -> None:
        world = begun(PROMOTE + ", goal: 0.2}")
        world.run(1, loss=0.5)
        decided = world.run(2, loss=0.1)
        assert isinstance(decided[-1], ExperimentCompleted)
        assert decided[-1].best_trial_id == T2
        assert world.state == State()


class TestPatience:
    def test_runs_out_after_so_many_trials_without_progress(self) -> None:
        world = begun(random_search(", patience: {trials: 2}", trials=9, concurrent=1))
        world.run(1, loss=0.5)
        world.run(2, loss=0.4)
        world.run(3, loss=0.6)
        decided = world.run(4, loss=0.4)
        reason = "no progress: 2 trials were tried and loss got no better"
        assert decided[-1] == ExperimentCompleted(
            experiment_id=EXPERIMENT, best_trial_id=T2, best_metric=0.4, reason=reason
        )

    def test_goes_by_the_metrics_direction(self) -> None:
        world = begun(random_search(", smaller_is_better: false, patience: {trials: 2}", trials=9, concurrent=1))
        for index, value in enumerate((0.5, 0.4, 0.6, 0.6), start=1):
            assert names(world.run(index, loss=value)) == ["TrialClosed", "TrialRequested"]
        (*_, ended) = world.run(5, loss=0.1)
        assert isinstance(ended, ExperimentCompleted) and ended.best_metric == 0.6

    def test_asks_for_min_delta(self) -> None:
        world = begun(random_search(", patience: {trials: 2, min_delta: 0.1}", trials=9, concurrent=1))
        for index, loss in enumerate((0.5, 0.45, 0.42), start=1):
            decided = world.run(index, loss=loss)
        assert isinstance(decided[-1], ExperimentCompleted)
        assert decided[-1].best_metric == 0.42
        assert decided[-1].reason.endswith("by more than 0.1")

    def test_is_renewed_by_a_running_trial(self) -> None:
        world = begun(random_search(", patience: {trials: 2}", trials=9))
        world.run(1, loss=0.5)
        world.after(allocated(2), reported(2, 0.4))
        world.run(3, loss=0.6)
        world.after(reported(2, 0.3, step=20))
        assert names(world.run(4, loss=0.6)) == ["TrialClosed", "TrialRequested"]


class TestLimits:
    def test_more_trials_at_a_time_are_requested_at_once(self) -> None:
        world = begun(random_search(trials=9))
        assert [request.index for request in requests(world.after(limits(max_concurrent_trials=5)))] == [3, 4, 5]

    def test_fewer_trials_at_a_time_leave_those_that_run(self) -> None:
        world = begun(random_search(trials=9, concurrent=3))
        assert world.after(limits(max_concurrent_trials=1)) == []
        assert names(world.run(1, loss=1)) == names(world.run(2, loss=1)) == ["TrialClosed"]
        assert names(world.run(3, loss=1)) == ["TrialClosed", "TrialRequested"]

    def test_more_trials_are_requested_and_the_same_ones(self) -> None:
        small, large = begun(random_search(trials=2)), begun(random_search(trials=4))
        small.after(limits(max_trials=4))
        finish(small)
        finish(large)
        chosen = [[request.hyperparameters for request in requests(world.events)] for world in (small, large)]
        assert chosen[0] == chosen[1]

    def test_fewer_trials_end_the_search_with_those_requested(self) -> None:
        world = begun(random_search(trials=9))
        assert world.after(limits(max_trials=1)) == []
        world.run(1, loss=1)
        assert isinstance(world.run(2, loss=1)[-1], ExperimentCompleted)

    def test_fewer_trials_need_no_model_that_fails(self) -> None:
        world = begun("{name: bayesian, metric: loss, max_trials: 8, max_concurrent_trials: 1, initial_trials: 2}")
        world.run(1, loss=1.0)
        world.fold([allocated(2), reported(2, 0.5), exited(2), released(2)])
        world.settle()
        asked = question(world.state.searches[EXPERIMENT], world.answers)
        assert asked is not None
        world.answers[EXPERIMENT] = {asked[0]: "ValueError: no"}
        (ended,) = world.after(limits(max_trials=2))
        assert isinstance(ended, ExperimentCompleted) and ended.best_metric == 0.5

    def test_what_a_method_has_no_limit_of_stays(self) -> None:
        world = begun("{name: single, metric: loss}")
        assert world.after(limits(max_trials=5, max_concurrent_trials=5)) == []

    def test_fewer_trials_on_rungs_let_go_those_parked(self) -> None:
        world = begun(PROMOTE.replace("max_concurrent_trials: 4", "max_concurrent_trials: 2") + "}")
        world.run(1, loss=0.1)
        world.run(2, loss=0.2)
        decided = world.after(limits(max_trials=2))
        parked = [event.trial_id for event in decided if isinstance(event, TrialClosed)]
        assert T2 not in {event.trial_id for event in of_type(decided, TrialRequested)}  # type: ignore[attr-defined]
        finish(world)
        assert world.state == State() and len(parked) <= 2

    @pytest.mark.parametrize("at", range(9))
    @pytest.mark.parametrize("max_trials", [2, 12])
    @pytest.mark.parametrize(
        "rule", ["max_length: 9", "max_length: 9, stop_once: true", "max_time: 9, time_metric: batches"]
    )
    def test_on_rungs_may_change_at_any_moment(self, at: int, max_trials: int, rule: str) -> None:
        text = "{name: adaptive_asha, metric: loss, mode: conservative, divisor: 3, max_trials: 6"
        world = begun(f"{text}, max_concurrent_trials: 3, {rule}}}")
        for index in range(1, at + 1):
            search = world.state.searches.get(EXPERIMENT)
            trial = search.open.get(trial_id(EXPERIMENT, index)) if search else None
            if trial:
                world.run(index, loss=index % 4)
        if EXPERIMENT not in world.state.searches:
            return
        num_requested = len(requests(world.events))
        world.after(limits(max_trials=max_trials, max_concurrent_trials=2))
        decided = finish(world)
        assert world.state == State()
        assert isinstance(decided[-1], ExperimentCompleted)
        assert len(requests(world.events)) == max(max_trials, num_requested)


def test_a_trial_that_never_tells_the_time_metric_says_so_at_its_end() -> None:
    world = begun(
        "{name: asha, metric: loss, num_rungs: 2, max_trials: 2, max_concurrent_trials: 1, max_time: 8,"
        " time_metric: epochs}"
    )
    decided = world.run(1, loss=0.5)
    assert isinstance(decided[0], TrialClosed)
    assert decided[0].reason == (
        "the training script ended, and was compared with no other: it never reported its time_metric epochs"
    )
    trial, allocation = ids(2, 1)
    told = MetricReported(
        trial_id=trial,
        experiment_id=EXPERIMENT,
        allocation_id=allocation,
        epoch=1,
        agent_id=AGENT,
        step=1,
        metrics={"loss": 1.0, "epochs": 1.0},
    )
    closed = world.after(allocated(2), told, exited(2), released(2))[0]
    assert isinstance(closed, TrialClosed)
    assert closed.reason == "the training script ended"
