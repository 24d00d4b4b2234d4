"""Histories: what the searcher wants after what has happened."""

import pytest
from msgspec.structs import replace

from services.searcher.decide import question
from services.searcher.exits import MAX_INTERRUPTIONS, MAX_LOSSES
from services.searcher.method import Proposal
from services.searcher.state import State
from shared.events import (
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentStopped,
    ExperimentSubmitted,
    Failure,
    GPUReleased,
    Outcome,
    ReleaseReason,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialRequested,
    TrialRetried,
)
from shared.ids import trial_id
from tests.searcher.world import (
    AGENT,
    EXPERIMENT,
    SUGGESTED,
    World,
    allocated,
    canceled,
    exited,
    names,
    paused,
    released,
    reported,
    requests,
    resumed,
    saved,
    stored,
    submitted,
)

SINGLE = "{name: single, metric: loss}"
BAYESIAN = "{name: bayesian, metric: loss, max_trials: 4, max_concurrent_trials: 1, initial_trials: 2}"
T1, T2 = trial_id(EXPERIMENT, 1), trial_id(EXPERIMENT, 2)


def closed(
    index: int,
    end: TrialEnd,
    reason: str,
    metric: float | None = None,
    step: int | None = None,
    failure: Failure | None = None,
) -> TrialClosed:
    return TrialClosed(
        experiment_id=EXPERIMENT,
        trial_id=trial_id(EXPERIMENT, index),
        end=end,
        reason=reason,
        metric=metric,
        step=step,
        failure=failure,
    )


def test_a_search_begins_with_as_many_trials_as_may_be_open() -> None:
    first, second = requests(World(submitted(more="resources: {slots_per_trial: 2, resource_pool: big}")).settle())
    assert (first.trial_id, first.index, first.slots, first.pool_id) == (T1, 1, 2, "big")
    assert (second.trial_id, second.index) == (T2, 2)
    assert first.origin == "random draw 1 of 3"
    assert first.seed != second.seed
    assert first.hyperparameters != second.hyperparameters


def test_nothing_is_needed_while_trials_run() -> None:
    world = World(submitted())
    world.settle()
    assert world.after(allocated(1), allocated(2), reported(1, 0.5)) == []


def test_a_completed_trial_is_closed_with_its_best_validation_and_makes_room() -> None:
    world = World(submitted())
    world.settle()
    decided = world.after(
        allocated(1), reported(1, 0.5, step=10), reported(1, 0.3, step=20), reported(1, 0.4, step=30), exited(1)
    )
    assert decided[0] == closed(1, TrialEnd.COMPLETED, "the training script ended", 0.3, 20)
    assert [request.index for request in requests(decided)] == [3]


def test_larger_is_better_when_the_file_says_so() -> None:
    world = World(submitted("{name: single, metric: accuracy, smaller_is_better: false}"))
    world.settle()
    reports = [reported(1, value, step=step, metric="accuracy") for step, value in ((1, 0.7), (2, 0.9), (3, 0.8))]
    decided = world.after(allocated(1), *reports, exited(1))
    assert decided == [
        closed(1, TrialEnd.COMPLETED, "the training script ended", 0.9, 2),
        ExperimentCompleted(experiment_id=EXPERIMENT, best_trial_id=T1, best_metric=0.9),
    ]


def test_an_experiment_completes_with_the_best_of_its_completed_trials() -> None:
    world = World(submitted())
    world.settle()
    world.run(1, loss=0.5)
    world.run(2, loss=0.2)
    assert world.run(3, loss=0.4)[-1] == ExperimentCompleted(
        experiment_id=EXPERIMENT, best_trial_id=T2, best_metric=0.2
    )
    assert world.state == State()


def test_a_trial_that_never_validated_completes_without_a_metric() -> None:
    world = World(submitted(SINGLE))
    world.settle()
    reason = "the training script ended, without a validation of loss"
    assert world.after(allocated(1), reported(1, 0.1, metric="accuracy"), exited(1)) == [
        closed(1, TrialEnd.COMPLETED, reason),
        ExperimentCompleted(experiment_id=EXPERIMENT, best_trial_id=None, best_metric=None),
    ]


def test_a_failed_trial_is_retried_until_its_restarts_are_used_up() -> None:
    world = World(submitted(SINGLE, more="max_restarts: 1"))
    world.settle()
    error = "Traceback (most recent call last):\n  …\nValueError: no such file\n"
    failure = Failure(restarts_left=0, agent_id=AGENT, exit_code=1, line="ValueError: no such file")
    assert world.after(allocated(1), exited(1, Outcome.FAILED, error=error), released(1)) == [
        TrialRetried(
            experiment_id=EXPERIMENT,
            trial_id=T1,
            restarts=1,
            reason="exit code 1: ValueError: no such file",
            failure=failure,
        )
    ]
    reason = "failed 2 times, the last with exit code 1"
    assert world.after(allocated(1, epoch=2), exited(1, Outcome.FAILED, epoch=2)) == [
        closed(1, TrialEnd.FAILED, reason, failure=replace(failure, line=None)),
        ExperimentFailed(experiment_id=EXPERIMENT, reason=f"none of 1 trials completed; the last: {reason}"),
    ]


def test_an_experiment_completes_if_only_one_trial_does() -> None:
    world = World(submitted(more="max_restarts: 0"))
    world.settle()
    world.run(1, outcome=Outcome.FAILED)
    world.run(2, loss=0.5)
    decided = world.run(3, loss=0.1, outcome=Outcome.FAILED)
    assert decided[-1] == ExperimentCompleted(experiment_id=EXPERIMENT, best_trial_id=T2, best_metric=0.5)


@pytest.mark.parametrize("outcome", [Outcome.PREEMPTED, Outcome.INTERRUPTED])
def test_a_trial_that_did_not_end_by_itself_is_the_schedulers_business(outcome: Outcome) -> None:
    world = World(submitted(SINGLE))
    world.settle()
    assert world.after(allocated(1), exited(1, outcome), released(1, reason=ReleaseReason.PREEMPTED)) == []
    assert names(world.after(allocated(1, epoch=2), exited(1, epoch=2))) == ["TrialClosed", "ExperimentCompleted"]


def test_a_lost_agent_costs_no_restart_and_what_it_still_says_is_void() -> None:
    world = World(submitted(SINGLE, more="max_restarts: 0"))
    world.settle()
    lost = [allocated(1), released(1, reason=ReleaseReason.AGENT_LOST), reported(1, 0.1), exited(1, Outcome.FAILED)]
    assert world.after(*lost) == []
    assert world.after(allocated(1, epoch=2), reported(1, 0.1), exited(1)) == []
    decided = world.after(reported(1, 0.4, epoch=2), exited(1, epoch=2))
    assert decided[0] == closed(1, TrialEnd.COMPLETED, "the training script ended", 0.4, 10)


def test_the_best_validation_counts_over_all_epochs() -> None:
    world = World(submitted(SINGLE))
    world.settle()
    world.after(allocated(1), reported(1, 0.2), released(1, reason=ReleaseReason.PREEMPTED))
    decided = world.after(allocated(1, epoch=2), reported(1, 0.6, epoch=2, step=20), exited(1, epoch=2))
    assert decided[0] == closed(1, TrialEnd.COMPLETED, "the training script ended", 0.2, 10)


def test_a_trial_that_is_interrupted_again_and_again_fails() -> None:
    world = World(submitted(SINGLE))
    world.settle()
    for epoch in range(1, MAX_INTERRUPTIONS):
        interrupted = exited(1, Outcome.INTERRUPTED, epoch=epoch, error="the parent died")
        assert world.after(allocated(1, epoch), interrupted, released(1, epoch, ReleaseReason.INTERRUPTED)) == []
    last = exited(1, Outcome.INTERRUPTED, epoch=MAX_INTERRUPTIONS, error="the parent died")
    reason = "interrupted 10 times without a validation, the last with exit code 1: the parent died"
    failure = Failure(restarts_left=0, agent_id=AGENT, exit_code=1, line="the parent died")
    assert world.after(allocated(1, MAX_INTERRUPTIONS), last)[0] == closed(1, TrialEnd.FAILED, reason, failure=failure)


def test_a_trial_that_takes_its_agents_down_again_and_again_fails() -> None:
    world = World(submitted(SINGLE))
    world.settle()
    for epoch in range(1, MAX_LOSSES):
        assert world.after(allocated(1, epoch), released(1, epoch, ReleaseReason.AGENT_LOST)) == []
    last = world.after(allocated(1, MAX_LOSSES), released(1, MAX_LOSSES, ReleaseReason.AGENT_LOST))
    reason = "its agents were lost 20 times in a row, without a validation or a checkpoint in between"
    assert last[0] == closed(1, TrialEnd.FAILED, reason, failure=Failure(restarts_left=0))
    assert names(last) == ["TrialClosed", "ExperimentFailed"]


@pytest.mark.parametrize("progress", [reported(1, 0.5), saved(1, 10)])
def test_a_trial_that_comes_on_between_the_losses_of_its_agents_is_not_their_cause(progress: Event) -> None:
    world = World(submitted(SINGLE))
    world.settle()
    for epoch in range(1, 3 * MAX_LOSSES):
        said = [replace(progress, epoch=epoch)] if epoch % (MAX_LOSSES - 1) == 0 else []
        assert world.after(allocated(1, epoch), *said, released(1, epoch, ReleaseReason.AGENT_LOST)) == []


def test_a_validation_in_between_forgives_interruptions() -> None:
    world = World(submitted(SINGLE))
    world.settle()
    for epoch in range(1, 2 * MAX_INTERRUPTIONS):
        released_ = released(1, epoch, ReleaseReason.INTERRUPTED)
        interrupted = exited(1, Outcome.INTERRUPTED, epoch=epoch)
        assert world.after(allocated(1, epoch), reported(1, 0.5, epoch=epoch), interrupted, released_) == []


def test_a_paused_experiment_requests_no_trials_until_it_is_resumed() -> None:
    world = World(submitted())
    world.settle()
    world.after(paused())
    assert names(world.run(1)) == ["TrialClosed"]
    assert [request.index for request in requests(world.after(resumed()))] == [3]


def test_a_canceled_experiment_closes_waiting_trials_at_once_and_running_ones_on_release() -> None:
    world = World(submitted())
    world.settle()
    world.after(allocated(1), reported(1, 0.5))
    reason = "the experiment was canceled"
    assert world.after(canceled()) == [closed(2, TrialEnd.CANCELED, reason)]
    decided = world.after(released(1, reason=ReleaseReason.PREEMPTED))
    assert decided == [closed(1, TrialEnd.CANCELED, reason, 0.5, 10), ExperimentStopped(experiment_id=EXPERIMENT)]
    assert world.state == State()


def test_a_trial_that_completes_while_it_is_canceled_has_completed() -> None:
    world = World(submitted(SINGLE))
    world.settle()
    decided = world.after(allocated(1), canceled(), exited(1), released(1))
    assert decided[0] == closed(1, TrialEnd.COMPLETED, "the training script ended, without a validation of loss")


def test_a_trial_that_fails_while_it_is_canceled_is_not_retried() -> None:
    world = World(submitted(SINGLE))
    world.settle()
    assert world.after(allocated(1), canceled(), exited(1, Outcome.FAILED)) == []
    assert world.after(released(1))[0] == closed(1, TrialEnd.CANCELED, "the experiment was canceled")


def test_an_experiment_canceled_before_its_first_trial_leaves_nothing() -> None:
    world = World(submitted(), canceled())
    assert world.settle() == [ExperimentStopped(experiment_id=EXPERIMENT)]
    assert world.state == State()


def test_an_experiment_that_cannot_be_read_fails_with_the_reason() -> None:
    world = World(stored({"entrypoint": "x"}))
    assert world.settle() == [
        ExperimentFailed(experiment_id=EXPERIMENT, reason="the stored experiment cannot be read; searcher: is required")
    ]
    assert world.state == State()


def test_causes_name_what_made_an_event_needed() -> None:
    world = World(submitted())
    assert {decision.causes for decision in world.decide()} == {(world.seq_of(ExperimentSubmitted),)}
    world.settle()
    world.fold([allocated(1), exited(1)])
    (decision,) = world.decide()
    assert decision.causes == (world.seq_of(TrialExited),)
    world.fold([decision.event])
    (decision,) = world.decide()
    assert decision.causes == (1, world.seq_of(TrialClosed))
    world.fold([decision.event, allocated(2), canceled(), released(2)])
    canceled_seq = world.seq_of(ExperimentCanceled)
    assert [decision.causes for decision in world.decide()] == [
        (canceled_seq, world.seq_of(GPUReleased)),
        (world.seq_of(TrialRequested), canceled_seq),
    ]


def test_all_trials_are_requested_at_once_when_concurrency_is_0() -> None:
    searcher = "{name: random, metric: loss, max_trials: 700, max_concurrent_trials: 0}"
    world = World(submitted(searcher))
    assert len(world.decide()) == 500
    assert [request.index for request in requests(world.settle())] == list(range(1, 701))


def test_only_what_is_due_is_looked_at() -> None:
    world = World(submitted(), submitted(experiment_id="other"))
    world.settle()
    world.state.due.clear()
    world.fold([allocated(1), exited(1)])
    assert list(world.state.due) == [EXPERIMENT]


def test_a_bayesian_search_waits_for_the_answer_to_its_question() -> None:
    world = World(submitted(BAYESIAN))
    assert [request.origin for request in requests(world.settle())] == ["initial design 1 of 2"]
    assert question(world.state.searches[EXPERIMENT], {}) is None
    world.run(1, loss=0.5)
    assert names(world.run(2, loss=0.4)) == ["TrialClosed"]
    asked = question(world.state.searches[EXPERIMENT], {})
    assert asked is not None
    assert asked[0][0] == 3
    assert asked[1].request["costs"] == [0.5, 0.4]
    world.answers[EXPERIMENT] = {asked[0]: Proposal(hyperparameters={"lr": 0.01}, origin="suggested", chosen=SUGGESTED)}
    (request,) = requests(world.settle())
    assert (request.index, request.hyperparameters, request.origin) == (3, {"lr": 0.01}, "suggested")
    assert request.chosen == SUGGESTED
    assert names(world.run(3, loss=0.1)) == ["TrialClosed"], "an answer is used once"


def test_a_paused_bayesian_search_asks_nothing() -> None:
    world = World(submitted(BAYESIAN))
    world.settle()
    world.run(1, loss=0.5)
    world.run(2, loss=0.5)
    world.after(paused())
    assert question(world.state.searches[EXPERIMENT], {}) is None


def test_a_bayesian_search_whose_method_fails_ends_when_its_trials_have() -> None:
    world = World(submitted(BAYESIAN.replace("max_concurrent_trials: 1", "max_concurrent_trials: 2")))
    world.settle()
    world.run(1, loss=0.5)
    asked = question(world.state.searches[EXPERIMENT], {})
    assert asked is not None
    world.answers[EXPERIMENT] = {asked[0]: "ValueError: no"}
    assert world.settle() == []
    assert world.run(2, loss=0.4)[-1] == ExperimentFailed(
        experiment_id=EXPERIMENT, reason="the search stopped after 2 of 4 trials: ValueError: no"
    )


def test_a_bayesian_search_without_any_result_goes_on_with_its_design() -> None:
    world = World(submitted(BAYESIAN, more="max_restarts: 0"))
    world.settle()
    world.run(1, outcome=Outcome.FAILED)
    (request,) = requests(world.run(2, outcome=Outcome.FAILED))
    assert request.origin == "initial design goes on, no trial has a result yet"
