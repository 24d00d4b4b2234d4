"""What an administrator sets: closed agents and slots, pools' policies, limits, moves between pools; who may join."""

from datetime import timedelta

import pytest

from services.scheduler.pool import pool_policy
from shared.events import (
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentJoined,
    AgentLeaving,
    AgentLost,
    AgentRefused,
    DefaultPolicySet,
    Event,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    JobPoolSet,
    LimitCleared,
    LimitSet,
    Outcome,
    PolicyType,
    PoolConfigured,
    PoolPolicy,
    PreemptionReason,
    PreemptionRequested,
    SlotFault,
    SlotRecovered,
    SlotUnhealthy,
)
from shared.ids import AgentId, ExperimentId, PoolId, limit_id
from tests.scheduler.world import (
    EXPERIMENT,
    POOL,
    World,
    allocations,
    joined,
    left,
    only,
    preempted,
    requested,
    submitted,
)

A, B = AgentId("a"), AgentId("b")
OTHER = PoolId("other")


def drain(agent: AgentId, *slots: int, grace_s: float | None = None) -> AgentDrainRequested:
    return AgentDrainRequested(agent_id=agent, slots=slots, grace_s=grace_s)


def preemptions(events: list[Event]) -> list[tuple[str, PreemptionReason]]:
    return [(event.trial_id, event.reason) for event in events if isinstance(event, PreemptionRequested)]


def rejoined(agent: str, slots: int, incarnation: str, succeeds: str | None) -> AgentJoined:
    before = joined(agent, slots, incarnation)
    return AgentJoined(
        agent_id=before.agent_id,
        incarnation=incarnation,
        pool_id=POOL,
        address=before.address,
        slots=before.slots,
        succeeds=succeeds,
    )


def limit(workspace: str | None = None, **values: int) -> LimitSet:
    return LimitSet(limit_id=limit_id(workspace), workspace=workspace, **values)


def test_a_drained_agent_gets_no_new_work_and_keeps_what_it_has() -> None:
    world = World(submitted(), joined("a", 2), joined("b", 1), requested(1, slots=2))
    assert allocations(world.settle()) == {"exp-1": {"a": (0, 1)}}
    world.fold([drain(A), requested(2), requested(3)])
    assert allocations(world.settle()) == {"exp-2": {"b": (0,)}}


def test_after_the_grace_period_what_runs_on_a_drained_agent_stops_and_waits_at_its_old_place() -> None:
    world = World(submitted(), joined("a", 1), joined("b", 1), requested(1), requested(2), requested(3))
    first = world.settle()
    world.fold([drain(A, grace_s=600)])
    world.waited = timedelta(seconds=599)
    assert world.decide() == []
    world.waited = timedelta(seconds=600)
    assert preemptions(world.settle()) == [("exp-1", PreemptionReason.DRAINED)]
    (running,) = [event for event in first if isinstance(event, GPUAllocated) and event.trial_id == "exp-1"]
    world.fold([preempted(running), AgentEnabled(agent_id=A)])
    assert allocations(world.settle()) == {"exp-1": {"a": (0,)}}, "it goes before the third, which never ran"


def test_a_disabled_agent_stops_what_it_runs_at_once() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    allocated = only(world.settle())
    world.fold([AgentDisabled(agent_id=A)])
    assert preemptions(world.settle()) == [("exp-1", PreemptionReason.DISABLED)]
    world.fold([preempted(allocated)])
    assert [type(event) for event in world.settle()] == [GPUReleased]


def test_a_closed_agent_stays_closed_when_it_comes_back() -> None:
    world = World(submitted(), drain(A), joined("a", 1), requested(1))
    assert world.settle() == []
    world.fold([joined("a", 1, "i2")])
    assert world.settle() == []
    world.fold([AgentEnabled(agent_id=A)])
    assert allocations(world.settle()) == {"exp-1": {"a": (0,)}}


def test_single_slots_are_closed_apart_from_the_others() -> None:
    world = World(submitted(), joined("a", 4), drain(A, 0, 2), requested(1, slots=2), requested(2))
    assert allocations(world.settle()) == {"exp-1": {"a": (1, 3)}}
    world.fold([AgentEnabled(agent_id=A)])
    assert world.settle() == [], "each slot is enabled by itself"
    world.fold([AgentEnabled(agent_id=A, slots=(2,))])
    assert allocations(world.settle()) == {"exp-2": {"a": (2,)}}


def unhealthy(slot: int) -> SlotUnhealthy:
    return SlotUnhealthy(agent_id=A, incarnation="i1", slot=slot, fault=SlotFault.ECC, detail="2")


def recovered(slot: int) -> SlotRecovered:
    return SlotRecovered(agent_id=A, incarnation="i1", slot=slot)


def test_an_unhealthy_slot_gets_no_new_work_and_keeps_what_it_has() -> None:
    world = World(submitted(), joined("a", 2), requested(1))
    running = only(world.settle())
    world.fold([unhealthy(0), unhealthy(1), requested(2)])
    assert world.settle() == []
    world.fold([recovered(1)])
    assert allocations(world.settle()) == {"exp-2": {"a": (1,)}}
    assert isinstance(running, GPUAllocated) and running.members[0].slots == (0,)


def test_a_fault_outlives_the_agent_and_ends_when_the_slot_is_enabled() -> None:
    world = World(submitted(), joined("a", 2), unhealthy(0), unhealthy(1), joined("a", 2, "i2"), requested(1))
    assert world.settle() == []
    world.fold([AgentEnabled(agent_id=A)])
    assert world.settle() == [], "each slot is enabled by itself"
    world.fold([AgentEnabled(agent_id=A, slots=(1,))])
    assert allocations(world.settle()) == {"exp-1": {"a": (1,)}}


def test_health_and_an_administrators_word_are_kept_apart() -> None:
    world = World(submitted(), joined("a", 1), drain(A, 0), unhealthy(0), recovered(0), requested(1))
    assert world.settle() == []
    world.fold([AgentEnabled(agent_id=A, slots=(0,))])
    assert allocations(world.settle()) == {"exp-1": {"a": (0,)}}


def test_an_agent_that_is_told_to_end_stops_its_gangs_everywhere_and_gets_nothing_until_it_is_back() -> None:
    world = World(submitted(), joined("a", 1), joined("b", 1), requested(1, slots=2))
    allocated = only(world.settle())
    world.fold([AgentLeaving(agent_id=A, incarnation="i1")])
    assert preemptions(world.settle()) == [("exp-1", PreemptionReason.LEAVING)]
    member = GangMemberExited(
        trial_id=allocated.trial_id, experiment_id=EXPERIMENT, allocation_id=allocated.allocation_id, epoch=1,
        agent_id=B, outcome=Outcome.PREEMPTED, exit_code=0, error=None,
    )  # fmt: skip
    world.fold([preempted(allocated), member])
    assert [type(event) for event in world.settle()] == [GPUReleased]
    world.fold([left("a")])
    assert world.settle() == []
    world.fold([joined("a", 1, "i2"), AgentLeaving(agent_id=A, incarnation="i1")])
    assert allocations(world.settle()) == {"exp-1": {"a": (0,), "b": (0,)}}


def test_a_gang_stops_when_one_of_its_slots_is_disabled() -> None:
    world = World(submitted(), joined("a", 2), joined("b", 2), requested(1, slots=4))
    world.settle()
    world.fold([AgentDisabled(agent_id=B, slots=(1,))])
    assert preemptions(world.settle()) == [("exp-1", PreemptionReason.DISABLED)]


def test_closed_slots_are_nothing_that_preemption_could_gain() -> None:
    world = World(
        submitted(priority=60),
        submitted("vip", priority=10),
        joined("a", 2),
        joined("b", 1),
        requested(1, slots=2),
        requested(2),
        drain(A),
        policy=PoolPolicy(preemption=True),
    )
    world.fold([AgentEnabled(agent_id=A)])
    world.settle()
    world.fold([drain(A), requested(1, experiment_id="vip")])
    assert preemptions(world.settle()) == [("exp-2", PreemptionReason.PRIORITY)]


def test_a_fair_share_counts_what_still_runs_on_closed_slots() -> None:
    world = World(
        submitted(),
        submitted("two"),
        joined("a", 2),
        joined("b", 2),
        requested(1, slots=2),
        requested(1, slots=2, experiment_id="two"),
        policy=pool_policy("fair_share"),
    )
    world.settle()
    world.fold([drain(A)])
    assert world.settle() == [], "nobody stops because the pool shrinks"


def test_a_pool_goes_by_the_policy_that_it_was_given() -> None:
    world = World(
        submitted(),
        joined("a", 2),
        requested(1),
        requested(2, slots=2),
        requested(3),
        PoolConfigured(pool_id=POOL, policy=PoolPolicy(type=PolicyType.FIFO)),
    )
    assert allocations(world.settle()) == {"exp-1": {"a": (0,)}}, "strictly in order"
    world.fold([PoolConfigured(pool_id=POOL, policy=PoolPolicy())])
    assert allocations(world.settle()) == {"exp-3": {"a": (1,)}}


def test_the_policy_of_the_setting_is_put_on_the_log_before_anything_is_decided_by_it() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    world.policy = PoolPolicy(type=PolicyType.FIFO)
    assert [decision.event for decision in world.decide()] == [DefaultPolicySet(scope="default", policy=world.policy)]
    assert [type(event) for event in world.settle()] == [DefaultPolicySet, GPUAllocated]


@pytest.mark.parametrize("policy", ["priority preemption", "fair_share", "fifo"])
def test_a_workspace_holds_no_more_slots_than_its_limit(policy: str) -> None:
    world = World(
        submitted(), joined("a", 4), limit("", max_slots=2), *(requested(n) for n in (1, 2, 3)),
        policy=pool_policy(policy),
    )  # fmt: skip
    assert allocations(world.settle()).keys() == {"exp-1", "exp-2"}
    world.fold([LimitCleared(limit_id=limit_id(""), workspace="")])
    assert allocations(world.settle()).keys() == {"exp-3"}


def test_a_limit_counts_over_all_pools() -> None:
    elsewhere = AgentJoined(agent_id=B, incarnation="i1", pool_id=OTHER, address="", slots=joined("b", 1).slots)
    world = World(
        submitted(),
        submitted("two"),
        joined("a", 1),
        elsewhere,
        limit(max_slots=1),
        requested(1),
        JobPoolSet(experiment_id=ExperimentId("two"), pool_id=OTHER),
        requested(1, experiment_id="two"),
    )
    assert allocations(world.settle()).keys() == {"exp-1"}


def test_what_a_workspace_may_not_use_is_shared_among_the_others() -> None:
    held_back = submitted("held")
    held_back.config["workspace"] = "small"
    world = World(
        submitted(), held_back, joined("a", 4), limit("small", max_slots=1),
        *(requested(n) for n in range(1, 5)), *(requested(n, experiment_id="held") for n in range(1, 5)),
        policy=pool_policy("fair_share"),
    )  # fmt: skip
    assert sorted(allocations(world.settle())) == ["exp-1", "exp-2", "exp-3", "held-1"]


def test_the_stricter_of_two_limits_counts_and_priorities_are_held_to_it() -> None:
    world = World(
        submitted(priority=1), submitted("other", priority=20), joined("a", 1),
        limit(best_priority=10), limit("", best_priority=30),
        requested(1), requested(1, experiment_id="other"),
    )  # fmt: skip
    assert world.state.best_priority("") == 30
    assert world.state.best_priority("elsewhere") == 10
    assert allocations(world.settle()).keys() == {"exp-1"}, "both count as 30; the first was submitted first"


def test_an_experiment_that_moves_to_another_pool_waits_there_and_its_running_trials_follow() -> None:
    world = World(submitted(), joined("a", 1), requested(1), requested(2))
    running = only(world.settle())
    world.fold([JobPoolSet(experiment_id=EXPERIMENT, pool_id=OTHER)])
    assert preemptions(world.settle()) == [("exp-1", PreemptionReason.POOL)]
    elsewhere = AgentJoined(agent_id=B, incarnation="i1", pool_id=OTHER, address="", slots=joined("b", 2).slots)
    world.fold([preempted(running)])
    world.settle()
    world.fold([elsewhere, requested(3)])
    assert allocations(world.settle()) == {"exp-1": {"b": (0,)}, "exp-2": {"b": (1,)}}
    assert list(world.state.waiting[OTHER]) == ["exp-3"], "trials requested later wait there, too"


def test_an_allocation_that_crossed_the_move_is_taken_back() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    (crossing,) = [decision.event for decision in world.decide()]
    world.fold([JobPoolSet(experiment_id=EXPERIMENT, pool_id=OTHER), crossing])
    assert preemptions(world.settle()) == [("exp-1", PreemptionReason.POOL)]


def test_a_restarted_agent_that_names_its_predecessor_takes_its_place() -> None:
    world = World(submitted(), joined("a", 1), requested(1))
    world.settle()
    world.fold([rejoined("a", 1, "i2", succeeds="i1")])
    events = world.settle()
    assert [type(event) for event in events] == [GPUReleased, GPUAllocated]
    assert only(events).members[0].incarnation == "i2"


def test_a_second_process_under_a_name_that_is_alive_is_refused() -> None:
    world = World(submitted(), joined("a", 1), requested(1), rejoined("a", 4, "i2", succeeds=""))
    assert [type(event) for event in world.settle()] == [GPUAllocated], "its owner has not been heard since"
    world.contested = {"a/i2"}
    (refused,) = world.settle()
    assert isinstance(refused, AgentRefused) and refused.incarnation == "i2"
    assert "another process is alive as agent a" in refused.reason
    assert not world.state.claimants and world.state.agents[A].incarnation == "i1"


def test_a_process_waits_for_a_name_whose_owner_has_not_been_heard_since() -> None:
    world = World(submitted(), joined("a", 1), rejoined("a", 4, "i2", succeeds=""))
    world.waited = timedelta(seconds=5)
    assert world.decide({A: 6.0}) == [], "perhaps it is dead, perhaps not"
    world.waited = timedelta(seconds=11)
    assert [type(decision.event) for decision in world.decide({A: 12.0})] == [AgentLost]
    world.settle({A: 12.0})
    assert not world.state.claimants and not world.state.agents
    world.fold([rejoined("a", 4, "i2", succeeds="")])
    assert world.settle() == [] and len(world.state.agents[A].slots) == 4


def test_an_agent_that_comes_back_with_the_same_slots_keeps_its_allocations() -> None:
    world = World(submitted(), joined("a", 2), requested(1))
    world.settle()
    world.fold([rejoined("a", 2, "i1", succeeds=None)])
    assert world.settle() == []


def test_an_agent_that_comes_back_with_other_slots_is_refused_while_some_are_held() -> None:
    world = World(submitted(), joined("a", 2), requested(1))
    world.settle()
    world.fold([rejoined("a", 1, "i1", succeeds="")])
    refused, released = world.settle()
    assert isinstance(refused, AgentRefused) and "other slots" in refused.reason
    assert isinstance(released, GPUReleased)
    assert A not in world.state.agents


def test_an_idle_agent_that_comes_back_with_other_slots_is_taken_as_it_is() -> None:
    world = World(submitted(), joined("a", 2), rejoined("a", 1, "i1", succeeds=""), requested(1), requested(2))
    assert allocations(world.settle()) == {"exp-1": {"a": (0,)}}


def test_labels_and_limits_of_agents_reach_the_policy() -> None:
    slots = joined("a", 2).slots
    agents = [
        AgentJoined(
            agent_id=AgentId(name), incarnation="i1", pool_id=POOL, address="", slots=slots, labels={"switch": switch}
        )
        for name, switch in (("a", "s1"), ("b", "s2"), ("c", "s2"))
    ]
    world = World(submitted(), *agents, requested(1, slots=4))
    assert allocations(world.settle()) == {"exp-1": {"b": (0, 1), "c": (0, 1)}}


def test_a_task_without_slots_goes_where_the_limit_allows_it() -> None:
    one = AgentJoined(
        agent_id=A, incarnation="i1", pool_id=POOL, address="", slots=joined("a", 1).slots, zero_slot_limit=1
    )
    world = World(submitted(), one, requested(1, slots=0), requested(2, slots=0), requested(3))
    assert allocations(world.settle()) == {"exp-1": {"a": ()}, "exp-3": {"a": (0,)}}
