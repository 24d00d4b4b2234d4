"""The scheduler's memory: agents, the queue of each pool, allocations. A fold of the log and nothing else.

A trial is waiting, allocated, or parked (its slots are free and the searcher has not yet said what next):

    TrialRequested ──► waiting ──GPUAllocated──► allocated ──GPUReleased──► waiting   preempted, agent lost, interrupted
                          ▲                                        └──────► parked    completed or failed by itself
                          └───────TrialRetried, TrialExtended──────────────────┘
    TrialStopped parks a trial: where it holds slots, as soon as they are free.
    TrialClosed forgets a trial that holds no slots.
    JobPoolSet takes an experiment's trials to the queue of another pool; one that holds slots when it stops.

What the chief said before the release decides, not the release's reason: the two may have crossed on the log, and
the searcher, who reads the same order, goes by the same rule.

Only what is open is kept: memory grows with what is queued and running, not with the log's length. `evolve` accepts
any history; what an allocation's own agents say counts only while its epoch is the trial's newest.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import singledispatch

from services.scheduler import closures
from services.scheduler.closures import Closures
from services.scheduler.durations import Durations, note
from services.scheduler.lanes import beside
from shared.events import (
    DEFAULT_POLICY,
    DEFAULT_PRIORITY,
    ZERO_SLOT_LIMIT,
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentJoined,
    AgentLeft,
    AgentLost,
    AgentRefused,
    DefaultPolicySet,
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
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
    LimitCleared,
    LimitSet,
    Outcome,
    PoolConfigured,
    PoolPolicy,
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
    switch: str = ""
    zero_slot_limit: int = ZERO_SLOT_LIMIT
    closed: frozenset[int] = frozenset()  # of its slots, those that take no new work
    is_open: bool = True  # as a whole

    @property
    def open_slots(self) -> frozenset[int]:
        """The slots that are not closed one by one."""
        return self.slots - self.closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """A process that joined under a name that another one has, or with slots that it may not have."""

    agent_id: AgentId
    pool_id: PoolId
    incarnation: str
    joined_seq: int
    joined_at: datetime
    is_other: bool  # another process, while the first may still be alive


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
    stops_for: TrialId | None = None  # it was asked to stop so that this one can start
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
class Limit:
    """What a workspace's trials hold together at most, and the lowest priority number that counts for them."""

    max_slots: int | None
    best_priority: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What the scheduler needs to know of an open experiment."""

    preemption_timeout_s: float
    job: Job
    workspace: str = ""
    pool_id: PoolId | None = None  # where somebody moved it
    moved_seq: int = 0
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
    durations: Durations = field(default_factory=Durations)
    closures: Closures = field(default_factory=dict)
    claimants: dict[str, Claimant] = field(default_factory=dict)  # agent/incarnation: who may have to be refused
    default_policy: PoolPolicy = DEFAULT_POLICY
    policies: dict[PoolId, PoolPolicy] = field(default_factory=dict)
    limits: dict[str | None, Limit] = field(default_factory=dict)  # by workspace; None: for each

    def policy(self, pool_id: PoolId) -> PoolPolicy:
        """Return how a pool is scheduled."""
        return self.policies.get(pool_id, self.default_policy)

    def max_slots(self, workspace: str) -> int | None:
        """Return how many slots a workspace's trials hold together at most; None: no limit."""
        found = [limit.max_slots for limit in self._limits(workspace) if limit.max_slots is not None]
        return min(found, default=None)

    def best_priority(self, workspace: str) -> int:
        """Return the lowest priority number that counts for a workspace's experiments."""
        return max((limit.best_priority or 0 for limit in self._limits(workspace)), default=0)

    def _limits(self, workspace: str) -> list[Limit]:
        return [self.limits[scope] for scope in (None, workspace) if scope in self.limits]


def evolve(state: State, recorded: Recorded) -> None:
    """Fold one event into the state."""
    assert recorded.event is not None
    state.time = recorded.envelope.time
    _fold(recorded.event, recorded.seq, state)
    note(recorded.event, state.durations, state.time)


@singledispatch
def _fold(event: Event, seq: int, state: State) -> None:
    """Events that the scheduler does not care about."""


@_fold.register
def _(event: ExperimentSubmitted, seq: int, state: State) -> None:
    timeout_s = float(event.config.get("preemption_timeout", PREEMPTION_TIMEOUT_S))
    state.experiments[event.experiment_id] = Experiment(
        preemption_timeout_s=timeout_s, job=_job(event, seq), workspace=str(event.config.get("workspace", ""))
    )


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
def _(event: JobPoolSet, seq: int, state: State) -> None:
    if event.experiment_id not in state.experiments:
        return
    _update_experiment(state, event.experiment_id, pool_id=event.pool_id, moved_seq=seq)
    for trial in [trial for trial in state.trials.values() if trial.experiment_id == event.experiment_id]:
        state.trials[trial.trial_id] = replace(trial, pool_id=event.pool_id)
        if trial.trial_id in state.waiting.get(trial.pool_id, {}):
            del state.waiting[trial.pool_id][trial.trial_id]
            state.waiting.setdefault(event.pool_id, {})[trial.trial_id] = None


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
    experiment = state.experiments.get(event.experiment_id)
    trial = Trial(
        trial_id=event.trial_id,
        experiment_id=event.experiment_id,
        pool_id=(experiment and experiment.pool_id) or event.pool_id,
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
    if trial := state.trials.get(event.trial_id):
        state.waiting.get(trial.pool_id, {}).pop(event.trial_id, None)
        state.trials[event.trial_id] = replace(
            trial, epoch=event.epoch, allocation_id=event.allocation_id, waiting=False
        )
    if _may_be_unwanted(state, event):
        state.unsettled[event.allocation_id] = None


def _may_be_unwanted(state: State, event: GPUAllocated) -> bool:
    """Say whether something that speaks against an allocation has crossed it on the log."""
    experiment, trial = state.experiments.get(event.experiment_id), state.trials.get(event.trial_id)
    if experiment is None or experiment.paused_seq or experiment.canceled_seq:
        return True
    if trial is None or trial.stopped_seq or trial.pool_id != event.pool_id:
        return True
    return any(member.agent_id in state.closures for member in event.members)


@_fold.register
def _(event: PreemptionRequested, seq: int, state: State) -> None:
    _update_allocation(state, event.allocation_id, preemption_seq=seq, stops_for=event.for_trial_id)


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
    """It is in, unless another process may be alive under its name, or it wants other slots while some are held."""
    present = state.agents.get(event.agent_id)
    slots = frozenset(slot.number for slot in event.slots)
    is_known = present is not None and present.incarnation == event.incarnation
    if present is not None and is_known and present.slots == slots:
        return
    is_rival = present is not None and not is_known and event.succeeds not in (None, present.incarnation)
    is_busy = present is not None and is_known and state.free[event.agent_id] != present.slots
    if is_rival or is_busy:
        state.claimants[f"{event.agent_id}/{event.incarnation}"] = Claimant(
            agent_id=event.agent_id,
            pool_id=event.pool_id,
            incarnation=event.incarnation,
            joined_seq=seq,
            joined_at=state.time,
            is_other=is_rival,
        )
        return
    _forget_agent(state, event.agent_id, seq)
    state.agents[event.agent_id] = Agent(
        agent_id=event.agent_id,
        incarnation=event.incarnation,
        pool_id=event.pool_id,
        slots=slots,
        kind=event.slots[0].kind if event.slots else "none",
        joined_seq=seq,
        switch=event.labels.get("switch", ""),
        zero_slot_limit=event.zero_slot_limit,
        closed=closures.closed_slots(state.closures, event.agent_id, slots),
        is_open=closures.is_open(state.closures, event.agent_id),
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
def _(event: AgentRefused, seq: int, state: State) -> None:
    """A process that was in and wanted other slots is gone: it must end, and what it runs with it."""
    state.claimants.pop(f"{event.agent_id}/{event.incarnation}", None)
    agent = state.agents.get(event.agent_id)
    if agent and agent.incarnation == event.incarnation:
        _forget_agent(state, event.agent_id, seq)


@_fold.register(AgentDrainRequested)
@_fold.register(AgentDisabled)
@_fold.register(AgentEnabled)
def _(event: AgentDrainRequested | AgentDisabled | AgentEnabled, seq: int, state: State) -> None:
    closures.note(state.closures, event, seq, state.time)
    if agent := state.agents.get(event.agent_id):
        state.agents[event.agent_id] = replace(
            agent,
            closed=closures.closed_slots(state.closures, event.agent_id, agent.slots),
            is_open=closures.is_open(state.closures, event.agent_id),
        )
        state.freed_seq[event.agent_id] = seq
    for allocation in state.allocations.values():
        if any(member.agent_id == event.agent_id for member in allocation.members):
            state.unsettled[allocation.allocation_id] = None


@_fold.register
def _(event: PoolConfigured, seq: int, state: State) -> None:
    state.policies[event.pool_id] = event.policy


@_fold.register
def _(event: DefaultPolicySet, seq: int, state: State) -> None:
    state.default_policy = event.policy


@_fold.register
def _(event: LimitSet, seq: int, state: State) -> None:
    state.limits[event.workspace] = Limit(max_slots=event.max_slots, best_priority=event.best_priority)


@_fold.register
def _(event: LimitCleared, seq: int, state: State) -> None:
    state.limits.pop(event.workspace, None)


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
    for name in [name for name, claimant in state.claimants.items() if claimant.agent_id == agent_id]:
        del state.claimants[name]  # a rival joins again once the name is free
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


def _update_experiment(state: State, experiment_id: ExperimentId, **changes: int | str | None) -> None:
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
        assert agent.closed == closures.closed_slots(state.closures, agent_id, agent.slots), f"{agent_id}'s closures"
        assert agent.is_open == closures.is_open(state.closures, agent_id), f"{agent_id}'s closures"
    for trial in state.trials.values():
        queued = trial.trial_id in state.waiting.get(trial.pool_id, {})
        assert queued == (trial.waiting and trial.allocation_id is None), f"{trial} is misplaced in the queue"
