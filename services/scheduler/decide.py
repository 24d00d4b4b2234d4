"""What the pools need now: lost agents declared, finished gangs released, unwanted ones preempted, the queue served.

Who gets slots, and who must give some back for it, is the policy's to say (`policies/`): a pure function of the pool,
the same that `tm simulate` runs. Trials of a paused experiment are not in the queue that it sees. A trial that its
machines failed goes behind the others of its job, so that it cannot hold them up by failing again and again.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from services.scheduler import grounds
from services.scheduler.policies import schedule
from services.scheduler.pool import Machine, Plan, Pool, PoolPolicy, Request
from services.scheduler.state import Allocation, Job, State, Trial
from shared.decisions import Decision
from shared.events import (
    AgentLost,
    Fit,
    GangMember,
    GPUAllocated,
    GPUReleased,
    Outcome,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
)
from shared.ids import AgentId, PoolId, TrialId, allocation_id

#: How a pool is scheduled unless it is said otherwise.
DEFAULT_POLICY = PoolPolicy()


def decide(
    state: State,
    silent_s: Mapping[AgentId, float],
    *,
    now: datetime,
    agent_timeout_s: float,
    policy: PoolPolicy = DEFAULT_POLICY,
) -> list[Decision]:
    """Return the events that are needed now, grouped by pool.

    `silent_s` is how long each agent's present incarnation has not been heard of; an agent missing from it was just
    heard. Slots that this very decision frees are given out by the next one.
    """
    decisions = [
        *_lost_agents(state, silent_s, agent_timeout_s),
        *_settlements(state),
        *(decision for pool_id in state.waiting for decision in _allocations(state, pool_id, policy, now)),
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


def _allocations(state: State, pool_id: PoolId, policy: PoolPolicy, now: datetime) -> Iterator[Decision]:
    """What the pool's policy wants: gangs started, and others asked to stop for them."""
    if not any(_is_runnable(state, state.trials[trial_id]) for trial_id in state.waiting[pool_id]):
        return
    plan = schedule(pool_view(state, pool_id, policy, now))
    for trial_id, by in plan.release.items():
        allocation_id_ = state.trials[trial_id].allocation_id
        assert allocation_id_ is not None, "only what runs can be asked to stop"
        yield _preemption_for(state, plan, state.allocations[allocation_id_], by)
    free = {agent.agent_id: set(state.free[agent.agent_id]) for agent in state.agents.values()}
    for trial_id, placement in plan.allocate.items():
        members = tuple(_member(state, free, agent_id, slots) for agent_id, slots in placement.items())
        yield _allocation(state, state.trials[trial_id], members, grounds.fit(plan, policy, trial_id, placement))


def pool_view(state: State, pool_id: PoolId, policy: PoolPolicy, now: datetime) -> Pool:
    """Return a pool as its policy sees it."""
    agents = [agent for agent in state.agents.values() if agent.pool_id == pool_id]
    machines = tuple(
        Machine(
            agent_id=agent.agent_id,
            slots=len(agent.slots),
            free=len(state.free[agent.agent_id]),
            kind=agent.kind,
        )
        for agent in agents
    )
    waiting = (state.trials[trial_id] for trial_id in state.waiting[pool_id])
    held = (allocation for allocation in state.allocations.values() if allocation.pool_id == pool_id)
    requests = (
        *(_request(state, trial, now) for trial in waiting if _is_runnable(state, trial)),
        *(_running(state, allocation) for allocation in held),
    )
    return Pool(policy=policy, machines=machines, requests=requests)


def _is_runnable(state: State, trial: Trial) -> bool:
    experiment = state.experiments.get(trial.experiment_id)
    return experiment is not None and experiment.paused_seq is None and experiment.canceled_seq is None


def _request(state: State, trial: Trial, now: datetime) -> Request:
    job = state.experiments[trial.experiment_id].job
    return Request(
        trial_id=trial.trial_id,
        job_id=trial.experiment_id,
        slots=trial.slots,
        position=job.position,
        number=trial.place,
        priority=job.priority,
        weight=job.weight,
        max_slots=job.max_slots,
        preemptible=job.preemptible,
        waited_s=(now - trial.waiting_since).total_seconds(),
    )


def _running(state: State, allocation: Allocation) -> Request:
    experiment, trial = state.experiments.get(allocation.experiment_id), state.trials.get(allocation.trial_id)
    job = experiment.job if experiment else Job(position=0.0)
    placement = {member.agent_id: len(member.slots) for member in allocation.members}
    is_going = allocation.preemption_seq is not None or bool(allocation.exited)
    return Request(
        trial_id=allocation.trial_id,
        job_id=allocation.experiment_id,
        slots=sum(placement.values()),
        position=job.position,
        number=trial.place if trial else 0,
        priority=job.priority,
        weight=job.weight,
        max_slots=job.max_slots,
        preemptible=job.preemptible,
        placement={agent_id: slots for agent_id, slots in placement.items() if agent_id in state.agents},
        is_stopping=is_going or _unwanted(state, allocation) is not None,
    )


def _member(state: State, free: dict[AgentId, set[int]], agent_id: AgentId, slots: int) -> GangMember:
    taken = sorted(free[agent_id])[:slots]
    free[agent_id] -= set(taken)
    return GangMember(agent_id=agent_id, incarnation=state.agents[agent_id].incarnation, slots=tuple(taken))


def _preemption_for(state: State, plan: Plan, allocation: Allocation, by: TrialId | None) -> Decision:
    """Ask a gang to stop so that another trial can start, or another job gets its share."""
    event = PreemptionRequested(
        pool_id=allocation.pool_id,
        allocation_id=allocation.allocation_id,
        trial_id=allocation.trial_id,
        reason=PreemptionReason.FAIR_SHARE if by is None else PreemptionReason.PRIORITY,
        timeout_s=state.experiments[allocation.experiment_id].preemption_timeout_s,
        for_trial_id=by,
        claim=grounds.claim(state, plan, allocation, by),
    )
    causes = {allocation.allocated_seq, *([state.trials[by].wanted_seq] if by else [])}
    return Decision(event=event, causes=tuple(sorted(causes)), correlation=allocation.experiment_id)


def _allocation(state: State, trial: Trial, members: tuple[GangMember, ...], fit: Fit) -> Decision:
    epoch = trial.epoch + 1
    event = GPUAllocated(
        pool_id=trial.pool_id,
        allocation_id=allocation_id(trial.trial_id, epoch),
        trial_id=trial.trial_id,
        experiment_id=trial.experiment_id,
        epoch=epoch,
        members=members,
        fit=fit,
    )
    causes = {trial.requested_seq, trial.wanted_seq, *(state.freed_seq[member.agent_id] for member in members)}
    return Decision(event=event, causes=tuple(sorted(causes)), correlation=trial.experiment_id)
