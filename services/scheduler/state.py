"""The scheduler's memory: agents, the queue of each pool, allocations. A fold of the log and nothing else.

A trial is waiting, allocated, or parked (its slots are free and the searcher has not yet said what next):

    TrialRequested ──► waiting ──GPUAllocated──► allocated ──GPUReleased──► waiting   preempted, agent lost, interrupted
                          ▲                                        └──────► parked    completed or failed by itself
                          └───────TrialRetried, TrialExtended──────────────────┘
    TrialStopped parks a trial: where it holds slots, as soon as they are free.
    TrialClosed forgets a trial that holds no slots.

What the chief said before the release decides, not the release's reason: the two may have crossed on the log, and
the searcher, who reads the same order, goes by the same rule.

Only what is open is kept: memory grows with what is queued and running, not with the log's length. `evolve` accepts
any history; what an allocation's own agents say counts only while its epoch is the trial's newest.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import singledispatch

from services.scheduler.lanes import beside
from services.scheduler.pool import DEFAULT_PRIORITY
from shared.events import (
    AgentJoined,
    AgentLeft,
    AgentLost,
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    GangMember,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    JobMaxSlotsSet,
    JobMoved,
    JobPrioritySet,
    JobWeightSet,
    Outcome,
    PreemptionRequested,
    TrialClosed,
    TrialEvent,
    TrialExited,
    TrialExtended,
    TrialPreempted,
    TrialRequested,
    TrialRetried,
    TrialStopped,
)
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId
from shared.log import Recorded

#: Before any event.
EPOCH = datetime.fromtimestamp(0, UTC)
#: For an experiment of a time when its file could not say.
PREEMPTION_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One incarnation of an agent. A lost or left agent offers nothing and is forgotten."""

    agent_id: AgentId
    incarnation: str
    pool_id: PoolId
    slots: frozenset[int]
    kind: str
    joined_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial that is not closed."""

    trial_id: TrialId
    experiment_id: ExperimentId
    pool_id: PoolId
    slots: int
    requested_seq: int
    epoch: int = 0
    allocation_id: AllocationId | None = None
    waiting: bool = True
    wanted_seq: int = 0  # the event that put it (back) into the queue
    waiting_since: datetime = EPOCH  # when it was last put (back) into the queue
    stopped_seq: int | None = None  # the search wants no more of it
    is_interrupted: bool = False  # its machines failed it last time

    @property
    def place(self) -> int:
        """Its place in the queue: that of its request, unless it may be the cause of what keeps going wrong."""
        return self.wanted_seq if self.is_interrupted else self.requested_seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A gang's slots, held until GPUReleased."""

    allocation_id: AllocationId
    trial_id: TrialId
    experiment_id: ExperimentId
    pool_id: PoolId
    epoch: int
    members: tuple[GangMember, ...]
    allocated_seq: int
    preemption_seq: int | None = None
    exited: frozenset[AgentId] = frozenset()
    exit_seqs: tuple[int, ...] = ()
    lost: frozenset[AgentId] = frozenset()
    lost_seq: int | None = None
    outcome: Outcome | None = None  # what the chief said at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An experiment's place and rights in the queue; its trials share them. A lower `position` goes first in a lane."""

    position: float
    submitted_seq: int = 0
    priority: int = DEFAULT_PRIORITY
    weight: float = 1.0
    max_slots: int | None = None
    preemptible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What the scheduler needs to know of an open experiment."""

    preemption_timeout_s: float
    job: Job
    paused_seq: int | None = None
    canceled_seq: int | None = None


@dataclass(slots=True)
class State:
    """Everything the scheduler decides from."""

    time: datetime = EPOCH  # of the newest event
    agents: dict[AgentId, Agent] = field(default_factory=dict)
    trials: dict[TrialId, Trial] = field(default_factory=dict)
    waiting: dict[PoolId, dict[TrialId, None]] = field(default_factory=dict)
    allocations: dict[AllocationId, Allocation] = field(default_factory=dict)
    experiments: dict[ExperimentId, Experiment] = field(default_factory=dict)
    free: dict[AgentId, set[int]] = field(default_factory=dict)
    freed_seq: dict[AgentId, int] = field(default_factory=dict)  # what last gave the agent a free slot
    unsettled: dict[AllocationId, None] = field(default_factory=dict)  # may need a release or a preemption


def evolve(state: State, recorded: Recorded) -> None:
    """Fold one event into the state."""
    assert recorded.event is not None
    state.time = recorded.envelope.time
    _fold(recorded.event, recorded.seq, state)


@singledispatch
def _fold(event: Event, seq: int, state: State) -> None:
    """Events that the scheduler does not care about."""


@_fold.register
def _(event: ExperimentSubmitted, seq: int, state: State) -> None:
    timeout_s = float(event.config.get("preemption_timeout", PREEMPTION_TIMEOUT_S))
    state.experiments[event.experiment_id] = Experiment(preemption_timeout_s=timeout_s, job=_job(event, seq))


def _job(event: ExperimentSubmitted, seq: int) -> Job:
    asked = event.config.get("resources", {})  # experiments of older versions say less
    priority, weight, max_slots = asked.get("priority"), asked.get("weight"), asked.get("max_slots")
    return Job(
        position=float(seq),
        submitted_seq=seq,
        priority=DEFAULT_PRIORITY if priority is None else int(priority),
        weight=1.0 if weight is None else float(weight),
        max_slots=max_slots,
        preemptible=bool(asked.get("preemptible", True)),
    )


@_fold.register
def _(event: JobPrioritySet, seq: int, state: State) -> None:
    if experiment := state.experiments.get(event.experiment_id):
        position = float(experiment.job.submitted_seq)
        _update_job(state, event.experiment_id, priority=event.priority, position=position)


@_fold.register
def _(event: JobWeightSet, seq: int, state: State) -> None:
    _update_job(state, event.experiment_id, weight=event.weight)


@_fold.register
def _(event: JobMaxSlotsSet, seq: int, state: State) -> None:
    _update_job(state, event.experiment_id, max_slots=event.max_slots)


@_fold.register
def _(event: JobMoved, seq: int, state: State) -> None:
    """Into the other's lane, between it and its neighbour there. Void when the other is over."""
    anchor = state.experiments.get(event.beside_id)
    if anchor is None or event.beside_id == event.experiment_id:
        return
    lane = [
        experiment.job.position
        for experiment_id, experiment in state.experiments.items()
        if experiment_id != event.experiment_id and experiment.job.priority == anchor.job.priority
    ]
    position = beside(anchor.job.position, lane, ahead=event.ahead)
    _update_job(state, event.experiment_id, priority=anchor.job.priority, position=position)


@_fold.register
def _(event: ExperimentPaused, seq: int, state: State) -> None:
    _update_experiment(state, event.experiment_id, paused_seq=seq)


@_fold.register
def _(event: ExperimentResumed, seq: int, state: State) -> None:
    _update_experiment(state, event.experiment_id, paused_seq=None)


@_fold.register
def _(event: ExperimentCanceled, seq: int, state: State) -> None:
    _update_experiment(state, event.experiment_id, canceled_seq=seq)


@_fold.register(ExperimentCompleted)
@_fold.register(ExperimentFailed)
@_fold.register(ExperimentStopped)
def _(event: ExperimentCompleted | ExperimentFailed | ExperimentStopped, seq: int, state: State) -> None:
    state.experiments.pop(event.experiment_id, None)


@_fold.register
def _(event: TrialRequested, seq: int, state: State) -> None:
    trial = Trial(
        trial_id=event.trial_id,
        experiment_id=event.experiment_id,
        pool_id=event.pool_id,
        slots=event.slots,
        requested_seq=seq,
    )
    _enqueue(state, trial, seq)


@_fold.register(TrialRetried)
@_fold.register(TrialExtended)
def _(event: TrialRetried | TrialExtended, seq: int, state: State) -> None:
    if (trial := state.trials.get(event.trial_id)) and trial.allocation_id is None:
        _enqueue(state, trial, seq)
    elif trial:
        state.trials[trial.trial_id] = replace(trial, waiting=True, wanted_seq=seq)


@_fold.register
def _(event: TrialStopped, seq: int, state: State) -> None:
    if trial := state.trials.get(event.trial_id):
        state.trials[trial.trial_id] = replace(trial, waiting=False, stopped_seq=seq)
        state.waiting.get(trial.pool_id, {}).pop(trial.trial_id, None)
        if trial.allocation_id:
            state.unsettled[trial.allocation_id] = None


@_fold.register
def _(event: TrialClosed, seq: int, state: State) -> None:
    trial = state.trials.pop(event.trial_id, None)
    if trial is None:
        return
    state.waiting.get(trial.pool_id, {}).pop(event.trial_id, None)
    if trial.allocation_id:
        state.unsettled[trial.allocation_id] = None


@_fold.register
def _(event: GPUAllocated, seq: int, state: State) -> None:
    state.allocations[event.allocation_id] = Allocation(
        allocation_id=event.allocation_id,
        trial_id=event.trial_id,
        experiment_id=event.experiment_id,
        pool_id=event.pool_id,
        epoch=event.epoch,
        members=event.members,
        allocated_seq=seq,
    )
    for member in event.members:
        if _is_current(state, member):
            state.free[member.agent_id] -= set(member.slots)
        else:
            _lose_member(state, event.allocation_id, member.agent_id, seq)
    state.waiting.get(event.pool_id, {}).pop(event.trial_id, None)
    if trial := state.trials.get(event.trial_id):
        state.trials[event.trial_id] = replace(
            trial, epoch=event.epoch, allocation_id=event.allocation_id, waiting=False
        )
    experiment = state.experiments.get(event.experiment_id)
    if experiment is None or experiment.paused_seq or experiment.canceled_seq or trial is None or trial.stopped_seq:
        state.unsettled[event.allocation_id] = None


@_fold.register
def _(event: PreemptionRequested, seq: int, state: State) -> None:
    _update_allocation(state, event.allocation_id, preemption_seq=seq)


@_fold.register
def _(event: GPUReleased, seq: int, state: State) -> None:
    allocation = state.allocations.pop(event.allocation_id, None)
    state.unsettled.pop(event.allocation_id, None)
    if allocation is None:
        return
    for member in allocation.members:
        if _is_current(state, member):
            state.free[member.agent_id] |= set(member.slots)
            state.freed_seq[member.agent_id] = seq
    trial = state.trials.get(event.trial_id)
    if trial and trial.allocation_id == event.allocation_id:
        trial = replace(trial, allocation_id=None, is_interrupted=allocation.outcome is Outcome.INTERRUPTED)
        state.trials[trial.trial_id] = trial
        has_ended = trial.stopped_seq is not None or allocation.outcome in (Outcome.COMPLETED, Outcome.FAILED)
        if trial.waiting or not has_ended:
            _enqueue(state, trial, trial.wanted_seq if trial.waiting else seq)


@_fold.register
def _(event: AgentJoined, seq: int, state: State) -> None:
    _forget_agent(state, event.agent_id, seq)
    slots = frozenset(slot.number for slot in event.slots)
    state.agents[event.agent_id] = Agent(
        agent_id=event.agent_id,
        incarnation=event.incarnation,
        pool_id=event.pool_id,
        slots=slots,
        kind=event.slots[0].kind if event.slots else "none",
        joined_seq=seq,
    )
    state.free[event.agent_id] = set(slots)
    state.freed_seq[event.agent_id] = seq
    state.waiting.setdefault(event.pool_id, {})


@_fold.register(AgentLeft)
@_fold.register(AgentLost)
def _(event: AgentLeft | AgentLost, seq: int, state: State) -> None:
    agent = state.agents.get(event.agent_id)
    if agent and agent.incarnation == event.incarnation:
        _forget_agent(state, event.agent_id, seq)


@_fold.register
def _(event: GangMemberExited, seq: int, state: State) -> None:
    _fold_exit(event, seq, state, outcome=None)


@_fold.register
def _(event: TrialExited, seq: int, state: State) -> None:
    _fold_exit(event, seq, state, outcome=event.outcome)


@_fold.register
def _(event: TrialPreempted, seq: int, state: State) -> None:
    _fold_exit(event, seq, state, outcome=Outcome.PREEMPTED)


def _fold_exit(event: TrialEvent, seq: int, state: State, *, outcome: Outcome | None) -> None:
    """A member's ranks have ended. Void unless the speaker is a member of that very allocation; only the chief's
    word about the outcome counts."""
    allocation = state.allocations.get(event.allocation_id)
    if allocation is None or event.agent_id not in {member.agent_id for member in allocation.members}:
        return
    is_chief = event.agent_id == allocation.members[0].agent_id
    _update_allocation(
        state,
        event.allocation_id,
        exited=allocation.exited | {event.agent_id},
        exit_seqs=(*allocation.exit_seqs, seq),
        outcome=outcome if is_chief else allocation.outcome,
    )


def _forget_agent(state: State, agent_id: AgentId, seq: int) -> None:
    """An incarnation is gone: its slots with it, and its part of every gang."""
    agent = state.agents.pop(agent_id, None)
    if agent is None:
        return
    del state.free[agent_id], state.freed_seq[agent_id]
    for allocation in list(state.allocations.values()):
        for member in allocation.members:
            if (member.agent_id, member.incarnation) == (agent_id, agent.incarnation):
                _lose_member(state, allocation.allocation_id, agent_id, seq)


def _lose_member(state: State, allocation_id: AllocationId, agent_id: AgentId, seq: int) -> None:
    allocation = state.allocations[allocation_id]
    if agent_id not in allocation.exited:
        _update_allocation(state, allocation_id, lost=allocation.lost | {agent_id}, lost_seq=allocation.lost_seq or seq)


def _is_current(state: State, member: GangMember) -> bool:
    agent = state.agents.get(member.agent_id)
    return agent is not None and agent.incarnation == member.incarnation


def _enqueue(state: State, trial: Trial, seq: int) -> None:
    state.trials[trial.trial_id] = replace(trial, waiting=True, wanted_seq=seq, waiting_since=state.time)
    state.waiting.setdefault(trial.pool_id, {})[trial.trial_id] = None


def _update_job(state: State, experiment_id: ExperimentId, **changes: float) -> None:
    experiment = state.experiments.get(experiment_id)
    if experiment:
        job = replace(experiment.job, **changes)  # type: ignore[arg-type] # typed by callers
        state.experiments[experiment_id] = replace(experiment, job=job)


def _update_experiment(state: State, experiment_id: ExperimentId, **changes: int | None) -> None:
    experiment = state.experiments.get(experiment_id)
    if experiment is None:
        return
    state.experiments[experiment_id] = replace(experiment, **changes)  # type: ignore[arg-type] # typed by callers
    for allocation in state.allocations.values():
        if allocation.experiment_id == experiment_id:
            state.unsettled[allocation.allocation_id] = None


def _update_allocation(state: State, allocation_id: AllocationId, **changes: object) -> None:
    allocation = state.allocations.get(allocation_id)
    if allocation:
        state.allocations[allocation_id] = replace(allocation, **changes)  # type: ignore[arg-type] # typed by callers
        state.unsettled[allocation_id] = None


def check_invariants(state: State) -> None:
    """Raise AssertionError when a slot has two owners or the books do not balance. For tests."""
    held: dict[AgentId, list[int]] = {agent_id: [] for agent_id in state.agents}
    for allocation in state.allocations.values():
        for member in allocation.members:
            if _is_current(state, member):
                held[member.agent_id].extend(member.slots)
    for agent_id, agent in state.agents.items():
        taken = held[agent_id]
        assert len(taken) == len(set(taken)), f"a slot of {agent_id} is held twice: {taken}"
        assert set(taken) <= agent.slots, f"{agent_id} does not have all of {taken}"
        assert state.free[agent_id] == agent.slots - set(taken), f"the free slots of {agent_id} are wrong"
    for trial in state.trials.values():
        queued = trial.trial_id in state.waiting.get(trial.pool_id, {})
        assert queued == (trial.waiting and trial.allocation_id is None), f"{trial} is misplaced in the queue"
