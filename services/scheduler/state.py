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

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import singledispatch
from typing import TypeVar

from msgspec.structs import replace

from services.scheduler import closures
from services.scheduler.closures import Closures, Faults
from services.scheduler.durations import Durations, note
from services.scheduler.lanes import beside
from services.scheduler.records import (
    EPOCH,
    PREEMPTION_TIMEOUT_S,
    Agent,
    Allocation,
    Claimant,
    Experiment,
    Job,
    Limit,
    Trial,
)
from shared.events import (
    DEFAULT_POLICY,
    DEFAULT_PRIORITY,
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentJoined,
    AgentLeaving,
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
    Slot,
    SlotRecovered,
    SlotUnhealthy,
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

_Key = TypeVar("_Key", AgentId, ExperimentId)
_Item = TypeVar("_Item", AllocationId, TrialId)


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
    held_on: dict[AgentId, dict[AllocationId, None]] = field(default_factory=dict)  # gangs by the names of their agents
    held_by: dict[ExperimentId, dict[AllocationId, None]] = field(default_factory=dict)
    trials_of: dict[ExperimentId, dict[TrialId, None]] = field(default_factory=dict)
    durations: Durations = field(default_factory=Durations)
    closures: Closures = field(default_factory=dict)
    faults: Faults = field(default_factory=dict)
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
        if not self.limits:
            return 0
        return max((limit.best_priority or 0 for limit in self._limits(workspace)), default=0)

    def _limits(self, workspace: str) -> list[Limit]:
        return [self.limits[scope] for scope in (None, workspace) if scope in self.limits]


def evolve(state: State, recorded: Recorded) -> None:
    """Fold one event into the state."""
    assert recorded.event is not None
    state.time = recorded.envelope.time
    _fold(recorded.event, recorded.seq, state)
    note(recorded.event, state.durations, state.time)


def concerns(event_type: type[Event]) -> bool:
    """Say whether events of a type change anything that is decided from."""
    return _fold.dispatch(event_type) is not _fold.dispatch(Event)


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
    for trial in [state.trials[trial_id] for trial_id in state.trials_of.get(event.experiment_id, ())]:
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
    state.trials_of.setdefault(trial.experiment_id, {})[trial.trial_id] = None
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
    _drop(state.trials_of, trial.experiment_id, trial.trial_id)
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
    state.held_by.setdefault(event.experiment_id, {})[event.allocation_id] = None
    for member in event.members:
        state.held_on.setdefault(member.agent_id, {})[event.allocation_id] = None
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
    _drop(state.held_by, allocation.experiment_id, allocation.allocation_id)
    for member in allocation.members:
        _drop(state.held_on, member.agent_id, allocation.allocation_id)
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
        kinds=_kinds(event.slots),
        joined_seq=seq,
        host=event.address,
        switch=event.labels.get("switch", ""),
        zero_slot_limit=event.zero_slot_limit,
        closed=closures.closed_slots(state.closures, state.faults, event.agent_id, slots),
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
    if isinstance(event, AgentEnabled):
        closures.note_fault(state.faults, event)
    _open_or_close(state, event.agent_id, seq)


@_fold.register(SlotUnhealthy)
@_fold.register(SlotRecovered)
def _(event: SlotUnhealthy | SlotRecovered, seq: int, state: State) -> None:
    closures.note_fault(state.faults, event)
    _open_or_close(state, event.agent_id, seq)


@_fold.register
def _(event: AgentLeaving, seq: int, state: State) -> None:
    agent = state.agents.get(event.agent_id)
    if agent and agent.incarnation == event.incarnation:
        closures.leave(state.closures, event.agent_id, seq, state.time)
        _open_or_close(state, event.agent_id, seq)


def _open_or_close(state: State, agent_id: AgentId, seq: int) -> None:
    """What is said of an agent or its slots has changed; some of what they hold may have to stop."""
    if agent := state.agents.get(agent_id):
        state.agents[agent_id] = replace(
            agent,
            closed=closures.closed_slots(state.closures, state.faults, agent_id, agent.slots),
            is_open=closures.is_open(state.closures, agent_id),
        )
        state.freed_seq[agent_id] = seq
    state.unsettled.update(state.held_on.get(agent_id, {}))


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
    closures.forget(state.closures, agent_id)
    if agent is None:
        return
    del state.free[agent_id], state.freed_seq[agent_id]
    for allocation in [state.allocations[allocation_id] for allocation_id in state.held_on.get(agent_id, ())]:
        for member in allocation.members:
            if (member.agent_id, member.incarnation) == (agent_id, agent.incarnation):
                _lose_member(state, allocation.allocation_id, agent_id, seq)


def _lose_member(state: State, allocation_id: AllocationId, agent_id: AgentId, seq: int) -> None:
    allocation = state.allocations[allocation_id]
    if agent_id not in allocation.exited:
        _update_allocation(state, allocation_id, lost=allocation.lost | {agent_id}, lost_seq=allocation.lost_seq or seq)


def _kinds(slots: Iterable[Slot]) -> dict[str, frozenset[int]]:
    kinds: dict[str, set[int]] = {}
    for slot in slots:
        kinds.setdefault(str(slot.kind), set()).add(slot.number)
    return {kind: frozenset(numbers) for kind, numbers in kinds.items()} or {"none": frozenset()}


def _drop(index: dict[_Key, dict[_Item, None]], key: _Key, item: _Item) -> None:
    """Take an item out of an index, and an empty entry with it."""
    if items := index.get(key):
        items.pop(item, None)
        if not items:
            del index[key]


def _is_current(state: State, member: GangMember) -> bool:
    agent = state.agents.get(member.agent_id)
    return agent is not None and agent.incarnation == member.incarnation


def _enqueue(state: State, trial: Trial, seq: int) -> None:
    state.trials[trial.trial_id] = replace(trial, waiting=True, wanted_seq=seq, waiting_since=state.time)
    state.waiting.setdefault(trial.pool_id, {})[trial.trial_id] = None


def _update_job(state: State, experiment_id: ExperimentId, **changes: float) -> None:
    experiment = state.experiments.get(experiment_id)
    if experiment:
        job = replace(experiment.job, **changes)
        state.experiments[experiment_id] = replace(experiment, job=job)


def _update_experiment(state: State, experiment_id: ExperimentId, **changes: int | str | None) -> None:
    experiment = state.experiments.get(experiment_id)
    if experiment is None:
        return
    state.experiments[experiment_id] = replace(experiment, **changes)
    state.unsettled.update(state.held_by.get(experiment_id, {}))


def _update_allocation(state: State, allocation_id: AllocationId, **changes: object) -> None:
    allocation = state.allocations.get(allocation_id)
    if allocation:
        state.allocations[allocation_id] = replace(allocation, **changes)
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
        closed = closures.closed_slots(state.closures, state.faults, agent_id, agent.slots)
        assert agent.closed == closed, f"{agent_id}'s closures"
        assert agent.is_open == closures.is_open(state.closures, agent_id), f"{agent_id}'s closures"
    for allocation_id, allocation in state.allocations.items():
        assert allocation_id in state.held_by[allocation.experiment_id], f"{allocation_id} is not found by experiment"
        assert all(allocation_id in state.held_on[m.agent_id] for m in allocation.members), f"{allocation_id} by agent"
    assert sum(map(len, state.held_by.values())) == len(state.allocations), "a gang that is gone is found"
    assert sum(map(len, state.trials_of.values())) == len(state.trials), "trials are not found by experiment"
    for trial in state.trials.values():
        queued = trial.trial_id in state.waiting.get(trial.pool_id, {})
        assert queued == (trial.waiting and trial.allocation_id is None), f"{trial} is misplaced in the queue"
