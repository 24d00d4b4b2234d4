"""The scheduler's rules, as histories."""

from datetime import timedelta

import pytest

from services.scheduler.memory import State
from services.scheduler.pool import pool_policy
from shared.events import (
    AgentLost,
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentPaused,
    ExperimentResumed,
    Fitting,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    JobMaxSlotsSet,
    JobMoved,
    JobPrioritySet,
    JobWeightSet,
    Outcome,
    PolicyType,
    PoolPolicy,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
    SlotKind,
    TrialExtended,
    TrialRetried,
    TrialStopped,
)
from shared.ids import AgentId, ExperimentId
from tests.scheduler.world import (
    EXPERIMENT,
    World,
    allocations,
    closed,
    exited,
    joined,
    left,
    only,
    preempted,
    requested,
    submitted,
)

A = AgentId("a")
B = AgentId("b")
FIFO = PoolPolicy(type=PolicyType.FIFO)
PREEMPTIVE = PoolPolicy(preemption=True)


def test_a_trial_waits_until_enough_slots_are_free() -> None:
    world = World(submitted(), joined("a", 2), requested(1, slots=2), requested(2, slots=2))
    first = only(world.settle())
    assert allocations([first]) == {"exp-1": {"a": (0, 1)}}
    world.fold([exited(first)])
    assert allocations(world.settle()) == {"exp-2": {"a": (0, 1)}}


def test_a_gang_is_one_event_over_several_whole_agents() -> None:
    world = World(submitted(), joined("a", 2), joined("b", 2), requested(1, slots=4))
    assert allocations(world.settle()) == {"exp-1": {"a": (0, 1), "b": (0, 1)}}


def test_one_agent_is_preferred_and_the_fullest_that_fits() -> None:
    world = World(submitted(), joined("a", 4), joined("b", 2), requested(1, slots=2))
    assert allocations(world.settle()) == {"exp-1": {"b": (0, 1)}}


def test_a_gang_never_mixes_kinds_or_sizes() -> None:
    world = World(
        submitted(), joined("a", 2), joined("b", 2, kind=SlotKind.CUDA), joined("c", 1), requested(1, slots=4)
    )
    assert world.settle() == []


def test_first_in_first_out_nobody_passes_the_head_of_the_queue() -> None:
    world = World(submitted(), joined("a", 2), requested(1, 1), requested(2, 2), requested(3, 1), policy=FIFO)
    assert list(allocations(world.settle())) == ["exp-1"]


def test_a_gang_that_can_never_fit_blocks_nobody() -> None:
    world = World(submitted(), joined("a", 2), requested(1, slots=3), requested(2, slots=1))
    assert list(allocations(world.settle())) == ["exp-2"]


def test_a_preempted_trial_returns_to_its_old_place() -> None:
    world = World(submitted(), joined("a", 1), requested(1), requested(2))
    first = only(world.settle())
    world.fold([ExperimentPaused(experiment_id=EXPERIMENT)])
    (asked,) = world.settle()
    assert isinstance(asked, PreemptionRequested)
    assert (asked.reason, asked.timeout_s) == (PreemptionReason.PAUSED, 30)
    world.fold([preempted(first)])
    assert [type(event) for event in world.settle()] == [GPUReleased]
    world.fold([ExperimentResumed(experiment_id=EXPERIMENT)])
    again = only(world.settle())
    assert (again.trial_id, again.epoch) == ("exp-1", 2)


def test_an_interrupted_trial_goes_behind_the_others() -> None:
    world = World(submitted(), joined("a", 1), requested(1), requested(2))
    first = only(world.settle())
    world.fold([exited(first, Outcome.INTERRUPTED)])
    released, second = world.settle()
    assert isinstance(released, GPUReleased)
    assert released.reason is ReleaseReason.INTERRUPTED
    assert isinstance(second, GPUAllocated)
    assert second.trial_id == "exp-2"
    world.fold([exited(second)])
    assert only(world.settle()).trial_id == "exp-1"


def test_a_trial_whose_agent_was_lost_goes_behind_the_others() -> None:
    """It may have been what took the agent down."""
    world = World(submitted(), joined("a", 1), requested(1), requested(2))
    world.settle()
    world.fold([left("a"), joined("a", 1, "i2")])
    released, second = world.settle()
    assert isinstance(released, GPUReleased) and released.reason is ReleaseReason.AGENT_LOST
    assert isinstance(second, GPUAllocated) and second.trial_id == "exp-2"


def test_a_completed_trial_is_parked_until_the_searcher_speaks() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    first = only(world.settle())
    world.fold([exited(first, Outcome.FAILED)])
    (released,) = world.settle()
    assert isinstance(released, GPUReleased) and released.reason is ReleaseReason.EXITED
    world.fold([TrialRetried(experiment_id=EXPERIMENT, trial_id=first.trial_id, restarts=1, reason="crash")])
    assert only(world.settle()).epoch == 2


def test_a_retry_that_comes_before_the_release_is_not_lost() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    first = only(world.settle())
    world.fold([exited(first, Outcome.FAILED)])
    world.fold([TrialRetried(experiment_id=EXPERIMENT, trial_id=first.trial_id, restarts=1, reason="crash")])
    assert only(world.settle()).epoch == 2


def test_a_silent_agent_is_lost_and_its_trial_goes_again_elsewhere() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    world.settle()
    world.fold([joined("b", 1)])
    events = world.settle({A: 11.0})
    assert [type(event) for event in events] == [AgentLost, GPUReleased, GPUAllocated]
    assert allocations(events) == {"exp-1": {"b": (0,)}}


def test_a_restarted_agent_voids_what_its_former_self_held() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    first = only(world.settle())
    world.fold([joined("a", 1, incarnation="i2")])
    second = only(world.settle())
    assert second.epoch == 2
    world.fold([exited(first)])  # a zombie speaks of the void allocation
    assert world.settle() == []
    assert world.state.allocations[second.allocation_id].outcome is None


def test_a_gang_that_loses_a_member_is_stopped_and_released_when_the_rest_has_ended() -> None:
    world = World(submitted(), joined("a", 1), joined("b", 1), requested(1, slots=2))
    gang = only(world.settle())
    world.fold([left("b")])
    (asked,) = world.settle()
    assert isinstance(asked, PreemptionRequested) and asked.reason is PreemptionReason.AGENT_LOST
    world.fold([preempted(gang)])
    (released,) = world.settle()
    assert isinstance(released, GPUReleased) and released.reason is ReleaseReason.PREEMPTED
    world.fold([joined("b", 1, incarnation="i2")])
    assert only(world.settle()).epoch == 2


def test_a_gang_is_held_until_every_member_has_ended() -> None:
    world = World(submitted(), joined("a", 1), joined("b", 1), requested(1, slots=2))
    gang = only(world.settle())
    world.fold([exited(gang)])
    assert world.settle() == []
    member = GangMemberExited(
        trial_id=gang.trial_id,
        experiment_id=EXPERIMENT,
        allocation_id=gang.allocation_id,
        epoch=1,
        agent_id=B,
        outcome=Outcome.COMPLETED,
        exit_code=0,
        error=None,
    )
    world.fold([member])
    assert [type(event) for event in world.settle()] == [GPUReleased]


def test_a_canceled_experiment_gives_its_slots_back_and_gets_no_more() -> None:
    world = World(submitted(), joined("a", 1), requested(1), requested(2))
    running = only(world.settle())
    world.fold([ExperimentCanceled(experiment_id=EXPERIMENT)])
    (asked,) = world.settle()
    assert isinstance(asked, PreemptionRequested) and asked.reason is PreemptionReason.CANCELED
    world.fold([preempted(running)])
    assert [type(event) for event in world.settle()] == [GPUReleased]


def test_what_is_over_is_forgotten() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    running = only(world.settle())
    world.fold([exited(running)])
    world.settle()
    world.fold(
        [closed(running.trial_id), ExperimentCompleted(experiment_id=EXPERIMENT, best_trial_id=None, best_metric=None)]
    )
    world.fold([left("a")])
    assert world.state == State(time=world.state.time, waiting={"default": {}})  # type: ignore[dict-item] # a plain str will do


def test_an_allocation_names_what_made_it_possible() -> None:
    world = World(submitted(), joined("a", 1), requested(1), requested(2))
    first = only(world.settle())
    world.fold([exited(first)])
    world.settle()
    world.fold([closed(first.trial_id)])
    released_seq = world.seq_of(GPUReleased)
    second = World(*world.events[:-2])  # before the second allocation and the closing
    (decision,) = second.decide()
    assert decision.causes == (4, released_seq)


def stopped(allocated: GPUAllocated) -> TrialStopped:
    return TrialStopped(experiment_id=EXPERIMENT, trial_id=allocated.trial_id, rung=1, reason="not among the best")


def test_a_trial_that_trained_to_its_target_goes_again_when_it_is_extended() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    first = only(world.settle())
    world.fold([exited(first)])
    (released,) = world.settle()
    assert isinstance(released, GPUReleased)
    world.fold([TrialExtended(experiment_id=EXPERIMENT, trial_id=first.trial_id, rung=2, target=9, reason="best")])
    assert only(world.settle()).epoch == 2


def test_a_stopped_trial_gives_its_slots_back_and_gets_no_more() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    first = only(world.settle())
    world.fold([stopped(first)])
    (preemption,) = world.settle()
    assert isinstance(preemption, PreemptionRequested) and preemption.reason is PreemptionReason.STOPPED
    world.fold([preempted(first)])
    (released,) = world.settle()
    assert isinstance(released, GPUReleased)
    world.fold([closed(first.trial_id)])
    assert world.settle() == []
    assert world.state.trials == {}


def test_a_trial_that_is_stopped_while_it_waits_waits_no_more() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    first = only(world.settle())
    world.fold([preempted(first)])
    (released,) = world.decide()
    world.fold([released.event, stopped(first)])
    assert world.settle() == []


def test_a_stop_that_crosses_an_allocation_ends_it() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    (allocation,) = world.decide()
    assert isinstance(allocation.event, GPUAllocated)
    world.fold([stopped(allocation.event), allocation.event])
    (preemption,) = world.settle()
    assert isinstance(preemption, PreemptionRequested) and preemption.reason is PreemptionReason.STOPPED


def test_a_more_important_experiment_takes_the_place_of_another_which_goes_on_later() -> None:
    low, high = submitted("low"), submitted("high", priority=1)
    world = World(low, joined("a", 1), requested(1, experiment_id="low"), policy=PREEMPTIVE)
    first = only(world.settle())
    world.fold([high, requested(1, experiment_id="high")])
    (asked,) = world.settle()
    assert isinstance(asked, PreemptionRequested)
    assert (asked.reason, asked.trial_id, asked.for_trial_id) == (PreemptionReason.PRIORITY, "low-1", "high-1")
    world.fold([preempted(first)])
    second = only(world.settle())
    assert second.trial_id == "high-1"
    world.fold([exited(second)])
    assert only(world.settle()).trial_id == "low-1"


def test_trials_that_are_not_preemptible_stay() -> None:
    world = World(submitted(preemptible=False), joined("a", 1), requested(1), policy=PREEMPTIVE)
    world.settle()
    world.fold([submitted("high", priority=1), requested(1, experiment_id="high")])
    assert world.settle() == []


def test_fair_share_asks_the_job_that_has_too_much() -> None:
    world = World(
        submitted(),
        joined("a", 2),
        requested(1),
        requested(2),
        policy=PoolPolicy(type=PolicyType.FAIR_SHARE, preemption=True),
    )
    world.settle()
    world.fold([submitted("other"), requested(1, experiment_id="other")])
    (asked,) = world.settle()
    assert isinstance(asked, PreemptionRequested)
    assert (asked.reason, asked.trial_id, asked.for_trial_id) == (PreemptionReason.FAIR_SHARE, "exp-2", None)


def test_an_experiment_holds_no_more_than_its_max_slots() -> None:
    world = World(submitted(max_slots=1), joined("a", 4), requested(1), requested(2))
    assert list(allocations(world.settle())) == ["exp-1"]


def test_a_pool_policy_is_read_from_its_setting() -> None:
    assert pool_policy("priority preemption worst") == PoolPolicy(preemption=True, fitting=Fitting.WORST)
    assert pool_policy("priority reserve=600") == PoolPolicy(reserve_after_s=600.0)
    assert pool_policy("fair_share") == PoolPolicy(type=PolicyType.FAIR_SHARE, preemption=True)
    with pytest.raises(ValueError, match="lottery"):
        pool_policy("lottery")
    for reserve in ("nan", "inf", "-1", "1e300"):
        with pytest.raises(ValueError, match="reserve"):
            pool_policy(f"priority reserve={reserve}")


ONE, TWO, THREE = (ExperimentId(name) for name in ("one", "two", "three"))


def queue_of_three(*changes: Event) -> list[str]:
    """Who starts, one after another, after these changes."""
    world = World(
        *(event for name in (ONE, TWO, THREE) for event in (submitted(name), requested(1, experiment_id=name)))
    )
    world.fold([*changes, joined("a", 1)])
    started = []
    while allocated := [event for event in world.settle() if isinstance(event, GPUAllocated)]:
        started.append(str(allocated[0].experiment_id))
        world.fold([exited(allocated[0])])
    return started


def test_people_move_experiments_in_the_queue() -> None:
    assert queue_of_three() == ["one", "two", "three"]
    ahead = JobMoved(experiment_id=THREE, beside_id=ONE, ahead=True)
    behind = JobMoved(experiment_id=ONE, beside_id=THREE, ahead=False)
    assert queue_of_three(ahead) == ["three", "one", "two"]
    assert queue_of_three(behind) == ["two", "three", "one"]
    assert queue_of_three(ahead, behind) == ["three", "one", "two"]


def test_a_new_priority_forgets_a_move_and_a_move_takes_the_others_priority() -> None:
    ahead = JobMoved(experiment_id=THREE, beside_id=ONE, ahead=True)
    assert queue_of_three(ahead, JobPrioritySet(experiment_id=THREE, priority=42)) == ["one", "two", "three"]
    assert queue_of_three(JobPrioritySet(experiment_id=ONE, priority=99), ahead) == ["two", "three", "one"]
    assert queue_of_three(JobPrioritySet(experiment_id=THREE, priority=1)) == ["three", "one", "two"]


def test_moving_beside_what_is_over_or_beside_itself_changes_nothing() -> None:
    for beside in (TWO, ExperimentId("gone")):
        assert queue_of_three(JobMoved(experiment_id=TWO, beside_id=beside, ahead=True)) == ["one", "two", "three"]


def test_max_slots_and_weight_change_live() -> None:
    world = World(submitted(), joined("a", 4), JobMaxSlotsSet(experiment_id=EXPERIMENT, max_slots=1))
    world.fold([requested(1), requested(2), JobWeightSet(experiment_id=EXPERIMENT, weight=2.0)])
    assert list(allocations(world.settle())) == ["exp-1"]
    world.fold([JobMaxSlotsSet(experiment_id=EXPERIMENT, max_slots=2)])
    assert list(allocations(world.settle())) == ["exp-2"]
    assert world.state.experiments[EXPERIMENT].job.weight == 2.0


def test_agents_are_kept_for_a_gang_that_has_waited_too_long() -> None:
    world = World(submitted(), joined("a", 2), requested(1), policy=PoolPolicy(reserve_after_s=600))
    world.settle()
    world.fold([requested(2, slots=2), requested(3)])
    assert [decision.event.trial_id for decision in world.decide()] == ["exp-3"]  # type: ignore[attr-defined]
    world.waited = timedelta(seconds=600)
    assert world.decide() == []
