"""How events change the scheduler's memory: agents, the queue of each pool, allocations. A fold of the log and nothing
else. Here is the life of trials and allocations; `membership.py` has the agents, `submissions.py` the experiments.

A trial is waiting, allocated, or parked (its slots are free and the searcher has not yet said what next):

    TrialRequested ──► waiting ──GPUAllocated──► allocated ──GPUReleased──► waiting   preempted, agent lost, interrupted
                          ▲                                        └──────► parked    completed or failed by itself
                          └───────TrialRetried, TrialExtended──────────────────┘
    TrialStopped parks a trial: where it holds slots, as soon as they are free.
    TrialClosed forgets a trial that holds no slots.
    JobPoolSet takes an experiment's trials to the queue of another pool; one that holds slots when it stops.

What the chief said before the release decides, not the release's reason: the two may have crossed on the log, and
the searcher, who reads the same order, goes by the same rule.

`evolve` accepts any history; what an allocation's own agents say counts only while its epoch is the trial's newest.
"""

from functools import singledispatch

from msgspec.structs import replace

from services.scheduler import membership, submissions
from services.scheduler.durations import note
from services.scheduler.memory import State, drop, is_current, update_allocation
from services.scheduler.records import Allocation, Limit, Trial
from shared.events import (
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
    PreemptionRequested,
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
from shared.log import Recorded


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


_fold.register(ExperimentSubmitted, submissions.submitted)
_fold.register(JobPrioritySet, submissions.priority_set)
_fold.register(JobWeightSet, submissions.weight_set)
_fold.register(JobMaxSlotsSet, submissions.max_slots_set)
_fold.register(JobMoved, submissions.moved)
_fold.register(JobPoolSet, submissions.pool_set)
_fold.register(ExperimentPaused, submissions.paused)
_fold.register(ExperimentResumed, submissions.resumed)
_fold.register(ExperimentCanceled, submissions.canceled)
_fold.register(ExperimentCompleted, submissions.ended)
_fold.register(ExperimentFailed, submissions.ended)
_fold.register(ExperimentStopped, submissions.ended)
_fold.register(AgentJoined, membership.joined)
_fold.register(AgentLeft, membership.left)
_fold.register(AgentLost, membership.left)
_fold.register(AgentRefused, membership.refused)
_fold.register(AgentDrainRequested, membership.closed_or_opened)
_fold.register(AgentDisabled, membership.closed_or_opened)
_fold.register(AgentEnabled, membership.closed_or_opened)
_fold.register(SlotUnhealthy, membership.health_changed)
_fold.register(SlotRecovered, membership.health_changed)
_fold.register(AgentLeaving, membership.leaving)


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
    drop(state.trials_of, trial.experiment_id, trial.trial_id)
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
        if is_current(state, member):
            state.free[member.agent_id] -= set(member.slots)
        else:
            membership.lose_member(state, event.allocation_id, member.agent_id, seq)
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
    update_allocation(state, event.allocation_id, preemption_seq=seq, stops_for=event.for_trial_id)


@_fold.register
def _(event: GPUReleased, seq: int, state: State) -> None:
    allocation = state.allocations.pop(event.allocation_id, None)
    state.unsettled.pop(event.allocation_id, None)
    if allocation is None:
        return
    drop(state.held_by, allocation.experiment_id, allocation.allocation_id)
    for member in allocation.members:
        drop(state.held_on, member.agent_id, allocation.allocation_id)
        if is_current(state, member):
            state.free[member.agent_id] |= set(member.slots)
            state.freed_seq[member.agent_id] = seq
    trial = state.trials.get(event.trial_id)
    if trial and trial.allocation_id == event.allocation_id:
        is_interrupted = allocation.outcome in (Outcome.INTERRUPTED, None)  # None: an agent was lost
        trial = replace(trial, allocation_id=None, is_interrupted=is_interrupted)
        state.trials[trial.trial_id] = trial
        has_ended = trial.stopped_seq is not None or allocation.outcome in (Outcome.COMPLETED, Outcome.FAILED)
        if trial.waiting or not has_ended:
            _enqueue(state, trial, trial.wanted_seq if trial.waiting else seq)


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
    update_allocation(
        state,
        event.allocation_id,
        exited=allocation.exited | {event.agent_id},
        exit_seqs=(*allocation.exit_seqs, seq),
        outcome=outcome if is_chief else allocation.outcome,
    )


def _enqueue(state: State, trial: Trial, seq: int) -> None:
    state.trials[trial.trial_id] = replace(trial, waiting=True, wanted_seq=seq, waiting_since=state.time)
    state.waiting.setdefault(trial.pool_id, {})[trial.trial_id] = None
