"""What the pools need now: lost agents declared, finished gangs released, unwanted ones preempted, the queue served.

First in, first out: the trial at the head of a pool's queue waits for its gang and nobody passes it, so that a
stream of small trials cannot starve a large one. A preempted trial keeps its place; one that its machines failed goes
to the end, so that it cannot hold up everybody by failing again and again. Only trials that cannot use slots now are
passed over: those of a paused experiment, and gangs that the pool's present agents could not hold even if they were
idle.
"""

from collections.abc import Iterator, Mapping

from services.scheduler.fitting import can_ever_fit, fit
from services.scheduler.state import Allocation, State, Trial
from shared.decisions import Decision
from shared.events import (
    AgentLost,
    GangMember,
    GPUAllocated,
    GPUReleased,
    Outcome,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
)
from shared.ids import AgentId, PoolId, allocation_id


def decide(state: State, silent_s: Mapping[AgentId, float], *, agent_timeout_s: float) -> list[Decision]:
    """Return the events that are needed now, grouped by pool.

    `silent_s` is how long each agent's present incarnation has not been heard of; an agent missing from it was just
    heard. Slots that this very decision frees are given out by the next one.
    """
    decisions = [
        *_lost_agents(state, silent_s, agent_timeout_s),
        *_settlements(state),
        *(decision for pool_id in state.waiting for decision in _allocations(state, pool_id)),
    ]
    return sorted(decisions, key=lambda decision: decision.event.aggregate_id)


def _lost_agents(state: State, silent_s: Mapping[AgentId, float], timeout_s: float) -> Iterator[Decision]:
    for agent in state.agents.values():
        silence_s = silent_s.get(agent.agent_id, 0.0)
        if silence_s > timeout_s:
            event = AgentLost(
                pool_id=agent.pool_id,
                agent_id=agent.agent_id,
                incarnation=agent.incarnation,
                silent_s=round(silence_s, 3),
            )
            yield Decision(event=event, causes=(agent.joined_seq,), correlation=agent.agent_id)


def _settlements(state: State) -> Iterator[Decision]:
    for allocation_id_ in state.unsettled:
        allocation = state.allocations[allocation_id_]
        decision = _release(allocation) or _preemption(state, allocation)
        if decision:
            yield decision


def _release(allocation: Allocation) -> Decision | None:
    """Release the whole gang once no member can still be running."""
    gone = allocation.exited | allocation.lost
    if not all(member.agent_id in gone for member in allocation.members):
        return None
    event = GPUReleased(
        pool_id=allocation.pool_id,
        allocation_id=allocation.allocation_id,
        trial_id=allocation.trial_id,
        epoch=allocation.epoch,
        reason=_release_reason(allocation.outcome),
    )
    causes = (*allocation.exit_seqs, *([allocation.lost_seq] if allocation.lost_seq else []))
    return Decision(event=event, causes=causes, correlation=allocation.experiment_id)


def _release_reason(outcome: Outcome | None) -> ReleaseReason:
    match outcome:
        case Outcome.COMPLETED | Outcome.FAILED:
            return ReleaseReason.EXITED
        case Outcome.PREEMPTED:
            return ReleaseReason.PREEMPTED
        case Outcome.INTERRUPTED:
            return ReleaseReason.INTERRUPTED
        case None:
            return ReleaseReason.AGENT_LOST


def _preemption(state: State, allocation: Allocation) -> Decision | None:
    """Ask a gang to stop, once, when its experiment no longer wants it to run or a member is lost."""
    if allocation.preemption_seq is not None:
        return None
    why = _unwanted(state, allocation)
    if why is None:
        return None
    reason, cause = why
    experiment = state.experiments.get(allocation.experiment_id)
    event = PreemptionRequested(
        pool_id=allocation.pool_id,
        allocation_id=allocation.allocation_id,
        trial_id=allocation.trial_id,
        reason=reason,
        timeout_s=experiment.preemption_timeout_s if experiment else 0.0,
    )
    return Decision(event=event, causes=(cause,), correlation=allocation.experiment_id)


def _unwanted(state: State, allocation: Allocation) -> tuple[PreemptionReason, int] | None:
    if allocation.lost_seq is not None:
        return PreemptionReason.AGENT_LOST, allocation.lost_seq
    experiment = state.experiments.get(allocation.experiment_id)
    if experiment is None or allocation.trial_id not in state.trials:
        return PreemptionReason.CANCELED, allocation.allocated_seq
    if experiment.canceled_seq is not None:
        return PreemptionReason.CANCELED, experiment.canceled_seq
    if (stopped_seq := state.trials[allocation.trial_id].stopped_seq) is not None:
        return PreemptionReason.STOPPED, stopped_seq
    if experiment.paused_seq is not None:
        return PreemptionReason.PAUSED, experiment.paused_seq
    return None


def _allocations(state: State, pool_id: PoolId) -> Iterator[Decision]:
    agents = [agent for agent in state.agents.values() if agent.pool_id == pool_id]
    free = {agent.agent_id: set(state.free[agent.agent_id]) for agent in agents}
    for trial in _queue(state, pool_id):
        members = fit(trial.slots, agents, free)
        if members:
            for member in members:
                free[member.agent_id] -= set(member.slots)
            yield _allocation(state, trial, members)
        elif can_ever_fit(trial.slots, agents):
            return  # the head of the queue waits, and everyone behind it


def _queue(state: State, pool_id: PoolId) -> list[Trial]:
    waiting = (state.trials[trial_id] for trial_id in state.waiting[pool_id])
    return sorted((trial for trial in waiting if _is_runnable(state, trial)), key=lambda trial: trial.place)


def _is_runnable(state: State, trial: Trial) -> bool:
    experiment = state.experiments.get(trial.experiment_id)
    return experiment is not None and experiment.paused_seq is None and experiment.canceled_seq is None


def _allocation(state: State, trial: Trial, members: tuple[GangMember, ...]) -> Decision:
    epoch = trial.epoch + 1
    event = GPUAllocated(
        pool_id=trial.pool_id,
        allocation_id=allocation_id(trial.trial_id, epoch),
        trial_id=trial.trial_id,
        experiment_id=trial.experiment_id,
        epoch=epoch,
        members=members,
    )
    causes = {trial.requested_seq, trial.wanted_seq, *(state.freed_seq[member.agent_id] for member in members)}
    return Decision(event=event, causes=tuple(sorted(causes)), correlation=trial.experiment_id)
