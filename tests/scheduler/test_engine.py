"""Whatever happens in whatever order: the engine, which looks at what events change, decides what a decision made from
nothing but the state does. `World.decide` compares the two each time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.memory import State
from shared.events import (
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentJoined,
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentSubmitted,
    Fitting,
    GangMemberExited,
    GPUAllocated,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
    LimitCleared,
    LimitSet,
    Outcome,
    PolicyType,
    PoolConfigured,
    PoolPolicy,
    Slot,
    SlotFault,
    SlotKind,
    SlotRecovered,
    SlotUnhealthy,
    TrialClosed,
    TrialEnd,
    TrialExtended,
    TrialRequested,
    TrialRetried,
    TrialStopped,
)
from shared.ids import AgentId, ExperimentId, PoolId, limit_id, trial_id
from tests.scheduler.world import World, exited, left, preempted

POOLS = (PoolId("one"), PoolId("two"))
EXPERIMENTS = tuple(ExperimentId(name) for name in ("a", "b", "c", "d"))
AGENTS = tuple(AgentId(f"agent{number}") for number in range(5))
POLICIES = st.builds(
    PoolPolicy,
    type=st.sampled_from(PolicyType),
    preemption=st.booleans(),
    fitting=st.sampled_from(Fitting),
    heterogeneous_fits=st.booleans(),
    reserve_after_s=st.sampled_from([None, 60.0]),
)
STEP = st.tuples(st.integers(0, 29), st.integers(0, 3), st.sampled_from([1, 2, 4, 0, 3, 8]), st.integers(0, 1))


@dataclass
class Cluster:
    """A world in which anything can happen."""

    world: World
    num_requested: int = 0
    num_joined: int = 0
    allocated: list[GPUAllocated] = field(default_factory=list)

    def act(self, what: int, which: int, size: int, flag: int) -> None:
        """Let one thing happen, and the scheduler decide once: its decisions are the next thing, perhaps."""
        acts: list[Callable[[], list[Event]]] = [
            lambda: [self.submitted(EXPERIMENTS[which], size, flag)],
            lambda: self.requested(which, size, flag),
            lambda: self.requested(which, size, flag),
            lambda: self.requested(which, size, flag),
            lambda: self.requested(which, size, flag),
            lambda: [self.joined(which, size, flag)],
            lambda: [self.joined(which, size, flag)],
            lambda: [self.joined(which, 4, flag)],
            lambda: self.left(which),
            lambda: self.ended(which, "exit"),
            lambda: self.ended(which, "exit"),
            lambda: self.ended(which, "fail"),
            lambda: self.ended(which, "preempt"),
            lambda: self.told(which, flag),
            lambda: [JobPrioritySet(experiment_id=EXPERIMENTS[which], priority=40 + size)],
            lambda: [JobWeightSet(experiment_id=EXPERIMENTS[which], weight=float(size))],
            lambda: [JobMaxSlotsSet(experiment_id=EXPERIMENTS[which], max_slots=1 + size)],
            lambda: [JobMoved(experiment_id=EXPERIMENTS[which], beside_id=EXPERIMENTS[size % 4], ahead=bool(flag))],
            lambda: [JobPoolSet(experiment_id=EXPERIMENTS[which], pool_id=POOLS[flag])],
            lambda: [ExperimentPaused(experiment_id=EXPERIMENTS[which])],
            lambda: [ExperimentResumed(experiment_id=EXPERIMENTS[which])],
            lambda: self.over(which, flag),
            lambda: [AgentDrainRequested(agent_id=AGENTS[which], slots=(0,) if flag else (), grace_s=float(size))],
            lambda: [AgentDisabled(agent_id=AGENTS[which], slots=(1,) if flag else ())],
            lambda: [AgentEnabled(agent_id=AGENTS[which], slots=(size,) if flag else ())],
            lambda: [health(AGENTS[which], size % 2, is_well=bool(flag))],
            lambda: [LimitSet(limit_id=limit_id("w0"), workspace="w0", max_slots=size, best_priority=41)],
            lambda: [LimitCleared(limit_id=limit_id("w0"), workspace="w0")],
            lambda: self.pass_time(20 * size),
            lambda: self.pass_time(size),
            list,
        ]
        self.fold(acts[what]())
        self.fold([decision.event for decision in self.world.decide()])

    def fold(self, events: list[Event]) -> None:
        self.world.fold(events)
        self.allocated += [event for event in events if isinstance(event, GPUAllocated)]

    def pass_time(self, seconds: int) -> list[Event]:
        self.world.waited += timedelta(seconds=seconds)
        return []

    def submitted(self, experiment_id: ExperimentId, size: int, flag: int) -> Event:
        return ExperimentSubmitted(
            experiment_id=experiment_id,
            name="test",
            config={
                "workspace": f"w{size % 2}",
                "resources": {"priority": 40 + size, "preemptible": bool(flag), "weight": 1.0 + size},
            },
            code_sha256="0" * 64,
            code_bytes=1,
        )

    def requested(self, which: int, size: int, other: int) -> list[Event]:
        self.num_requested += 1
        return [
            TrialRequested(
                experiment_id=EXPERIMENTS[which],
                trial_id=trial_id(EXPERIMENTS[which], self.num_requested),
                index=self.num_requested,
                hyperparameters={},
                seed=1,
                slots=size,
                pool_id=POOLS[int(other and size > 2)],
                origin="test",
            )
        ]

    def joined(self, which: int, size: int, flag: int) -> Event:
        self.num_joined += 1
        mixed = (SlotKind.CPU, SlotKind.CUDA) if flag and size > 2 else (SlotKind.CPU, SlotKind.CPU)
        return AgentJoined(
            agent_id=AGENTS[which],
            incarnation=f"i{self.num_joined}",
            pool_id=POOLS[which == 3],
            address=f"host{which // 2}",
            slots=tuple(Slot(number=number, kind=mixed[number % 2], name="x") for number in range(size)),
            labels={"switch": "x"} if flag else {},
            zero_slot_limit=1,
        )

    def left(self, which: int) -> list[Event]:
        agent = self.world.state.agents.get(AGENTS[which])
        return [left(agent.agent_id, agent.incarnation)] if agent else []

    def ended(self, which: int, how: str) -> list[Event]:
        running = [event for event in self.allocated if event.allocation_id in self.world.state.allocations]
        if not running:
            return []
        gang = running[which % len(running)]
        members: list[Event] = [_member_exited(gang, member.agent_id) for member in gang.members[1:]]
        if how == "preempt":
            return [*members, preempted(gang)]
        return [*members, exited(gang, Outcome.COMPLETED if how == "exit" else Outcome.INTERRUPTED)]

    def told(self, which: int, flag: int) -> list[Event]:
        """The search says something of a trial."""
        known = sorted(self.world.state.trials)
        if not known:
            return []
        trial = self.world.state.trials[known[self.num_requested % len(known)]]
        experiment_id, about = trial.experiment_id, trial.trial_id
        told: list[Event] = [
            TrialRetried(experiment_id=experiment_id, trial_id=about, restarts=1, reason="x"),
            TrialExtended(experiment_id=experiment_id, trial_id=about, rung=1, target=2, reason="x"),
            TrialStopped(experiment_id=experiment_id, trial_id=about, rung=1, reason="x"),
            TrialClosed(
                experiment_id=experiment_id, trial_id=about, end=TrialEnd.COMPLETED, reason="x", metric=None, step=None
            ),
        ]
        return [told[2 * flag + which % 2]]

    def over(self, which: int, flag: int) -> list[Event]:
        if flag:
            return [ExperimentCanceled(experiment_id=EXPERIMENTS[which])]
        return [ExperimentCompleted(experiment_id=EXPERIMENTS[which], best_trial_id=None, best_metric=None)]


def health(agent_id: AgentId, slot: int, *, is_well: bool) -> Event:
    """What an agent says of a slot."""
    if is_well:
        return SlotRecovered(agent_id=agent_id, incarnation="i1", slot=slot)
    return SlotUnhealthy(agent_id=agent_id, incarnation="i1", slot=slot, fault=SlotFault.ECC, detail="")


def _member_exited(gang: GPUAllocated, agent_id: AgentId) -> GangMemberExited:
    return GangMemberExited(
        trial_id=gang.trial_id,
        experiment_id=gang.experiment_id,
        allocation_id=gang.allocation_id,
        epoch=gang.epoch,
        agent_id=agent_id,
        outcome=Outcome.COMPLETED,
        exit_code=0,
        error=None,
    )


def cluster_of(policy: PoolPolicy) -> Cluster:
    """A cluster in which two agents and two experiments are there from the beginning."""
    cluster = Cluster(World())
    cluster.fold([PoolConfigured(pool_id=POOLS[0], policy=policy)])
    for number in (0, 1):
        cluster.fold([cluster.submitted(EXPERIMENTS[number], number, 1), cluster.joined(number, 4, 0)])
    return cluster


def test_a_trial_that_is_closed_while_it_holds_slots_is_asked_to_stop() -> None:
    """It was closed before the searcher had seen its allocation."""
    cluster = cluster_of(PoolPolicy())
    cluster.fold(cluster.requested(0, 1, 0))
    cluster.fold([decision.event for decision in cluster.world.decide()])
    cluster.fold(cluster.told(1, 1))
    assert [type(decision.event).__name__ for decision in cluster.world.decide()] == ["PreemptionRequested"]


@settings(max_examples=300, deadline=None)
@given(POLICIES, st.lists(STEP, max_size=40))
def test_what_events_change_is_all_that_must_be_looked_at(
    policy: PoolPolicy, steps: list[tuple[int, int, int, int]]
) -> None:
    cluster = cluster_of(policy)
    for step in steps:
        cluster.act(*step)


@settings(max_examples=50, deadline=None)
@given(POLICIES, st.lists(STEP, max_size=30), st.lists(STEP, max_size=10))
def test_an_engine_goes_on_from_a_snapshot_of_the_state(
    policy: PoolPolicy, before: list[tuple[int, int, int, int]], after: list[tuple[int, int, int, int]]
) -> None:
    cluster = cluster_of(policy)
    for step in before:
        cluster.act(*step)
    kept = msgspec.msgpack.encode(cluster.world.state)
    cluster.world.state = msgspec.msgpack.decode(kept, type=State)
    for step in after:
        cluster.act(*step)
