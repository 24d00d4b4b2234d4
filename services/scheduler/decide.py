"""What the pools need now: lost agents declared, finished gangs released, unwanted ones preempted, the queue served.

Who gets slots, and who must give some back for it, is the policy's to say (`policies/`): a pure function of the pool,
the same that `tm simulate` runs. Trials of a paused experiment are not in the queue that it sees. A trial that its
machines failed goes behind the others of its job, so that it cannot hold them up by failing again and again.

How a pool is scheduled, what is closed and which limits hold is on the log, and so in the state. Only what this process
alone knows is told besides: whom it has heard when, and the policy that its setting names for pools nobody configured;
of both it leaves word on the log before it goes by it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from services.scheduler import closures, grounds
from services.scheduler.policies import schedule
from services.scheduler.pool import Machine, Placement, Plan, Pool, Request, WorkspaceUse
from services.scheduler.state import Agent, Allocation, Claimant, Job, State, Trial
from shared.decisions import Decision
from shared.events import (
    DEFAULT_POLICY,
    AgentLost,
    AgentRefused,
    DefaultPolicySet,
    Fit,
    GangMember,
    GPUAllocated,
    GPUReleased,
    Outcome,
    PoolPolicy,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
)
from shared.ids import AgentId, PoolId, TrialId, allocation_id


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
    heard. `policy` is the setting for pools that nobody configured. Slots that this very decision frees are given out
    by the next one.
    """
    if state.default_policy != policy:
        return [_default_policy(policy)]
    uses = workspace_uses(state)
    decisions = [
        *_lost_agents(state, silent_s, agent_timeout_s),
        *_refusals(state, silent_s, now),
        *_settlements(state, now),
        *(decision for pool_id in state.waiting for decision in _allocations(state, pool_id, uses, now)),
    ]
    return sorted(decisions, key=lambda decision: decision.event.aggregate_id)


def _default_policy(policy: PoolPolicy) -> Decision:
    return Decision(event=DefaultPolicySet(scope="default", policy=policy), causes=(), correlation="default")


def _refusals(state: State, silent_s: Mapping[AgentId, float], now: datetime) -> Iterator[Decision]:
    """Refuse who joins under a name whose owner was heard since, or wants other slots while some of its are held.

    If the owner is dead, it is declared lost in time, and the other joins again.
    """
    for claimant in state.claimants.values():
        silence_s = silent_s.get(claimant.agent_id, 0.0)
        if not claimant.is_other or now - timedelta(seconds=silence_s) > claimant.joined_at:
            event = AgentRefused(
                pool_id=claimant.pool_id,
                agent_id=claimant.agent_id,
                incarnation=claimant.incarnation,
                reason=_refusal(state.agents[claimant.agent_id], claimant),
            )
            yield Decision(event=event, causes=(claimant.joined_seq,), correlation=claimant.agent_id)


def _refusal(present: Agent, claimant: Claimant) -> str:
    if claimant.is_other:
        return (
            f"another process is alive as agent {claimant.agent_id} (incarnation {present.incarnation}); "
            "give this one a name of its own (TM_AGENT_ID), or stop the other"
        )
    return (
        f"agent {claimant.agent_id} came back with other slots than the {len(present.slots)} that it had, "
        "while trials hold some of them; it must start anew"
    )


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


def _settlements(state: State, now: datetime) -> Iterator[Decision]:
    for allocation_id_ in state.unsettled:
        allocation = state.allocations[allocation_id_]
        decision = _release(allocation) or _preemption(state, allocation, now)
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


def _preemption(state: State, allocation: Allocation, now: datetime) -> Decision | None:
    """Ask a gang to stop, once, when its experiment no longer wants it to run there or its slots are taken away."""
    if allocation.preemption_seq is not None:
        return None
    why = _unwanted(state, allocation, now)
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


def _unwanted(state: State, allocation: Allocation, now: datetime) -> tuple[PreemptionReason, int] | None:
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
    if state.trials[allocation.trial_id].pool_id != allocation.pool_id:
        return PreemptionReason.POOL, experiment.moved_seq
    closure = closures.ended(state.closures, allocation.members, now) if state.closures else None
    return (closure.reason, closure.seq) if closure else None


def workspace_uses(state: State) -> dict[str, WorkspaceUse]:
    """Return how many slots the workspaces that have a limit hold."""
    if not state.limits:
        return {}
    uses = {
        workspace: WorkspaceUse(limit=limit, held=0)
        for workspace in {experiment.workspace for experiment in state.experiments.values()}
        if (limit := state.max_slots(workspace)) is not None
    }
    for allocation in state.allocations.values():
        experiment = state.experiments.get(allocation.experiment_id)
        if experiment and (use := uses.get(experiment.workspace)):
            use.held += sum(len(member.slots) for member in allocation.members)
    return uses


def _allocations(state: State, pool_id: PoolId, uses: dict[str, WorkspaceUse], now: datetime) -> Iterator[Decision]:
    """What the pool's policy wants: gangs started, and others asked to stop for them. Adds them to `uses`."""
    if not any(_is_runnable(state, state.trials[trial_id]) for trial_id in state.waiting[pool_id]):
        return
    plan = schedule(pool_view(state, pool_id, uses, now))
    for trial_id, by in plan.release.items():
        allocation_id_ = state.trials[trial_id].allocation_id
        assert allocation_id_ is not None, "only what runs can be asked to stop"
        yield _preemption_for(state, plan, state.allocations[allocation_id_], by)
    free = {agent.agent_id: state.free[agent.agent_id] - agent.closed for agent in state.agents.values()}
    for trial_id, placement in plan.allocate.items():
        trial = state.trials[trial_id]
        members = tuple(_member(state, free, agent_id, slots) for agent_id, slots in placement.items())
        use = uses.get(state.experiments[trial.experiment_id].workspace)
        if use is not None:
            use.held += trial.slots
        yield _allocation(state, trial, members, grounds.fit(plan, state.policy(pool_id), trial_id, placement))


def pool_view(state: State, pool_id: PoolId, uses: Mapping[str, WorkspaceUse], now: datetime) -> Pool:
    """Return a pool as its policy sees it."""
    held = [allocation for allocation in state.allocations.values() if allocation.pool_id == pool_id]
    num_zero = Counter(member.agent_id for allocation in held for member in allocation.members if not member.slots)
    machines = tuple(
        Machine(
            agent_id=agent.agent_id,
            slots=len(agent.open_slots),
            free=len(state.free[agent.agent_id] - agent.closed),
            kind=agent.kind,
            switch=agent.switch,
            num_zero_slot=num_zero[agent.agent_id],
            zero_slot_limit=agent.zero_slot_limit,
            is_open=agent.is_open,
            num_closed=len(agent.closed),
        )
        for agent in state.agents.values()
        if agent.pool_id == pool_id
    )
    waiting = (state.trials[trial_id] for trial_id in state.waiting[pool_id])
    requests = (
        *(_request(state, trial, now) for trial in waiting if _is_runnable(state, trial)),
        *(_running(state, allocation, now) for allocation in held),
    )
    return Pool(policy=state.policy(pool_id), machines=machines, requests=requests, workspaces=uses)


def _is_runnable(state: State, trial: Trial) -> bool:
    experiment = state.experiments.get(trial.experiment_id)
    return experiment is not None and experiment.paused_seq is None and experiment.canceled_seq is None


def _request(state: State, trial: Trial, now: datetime) -> Request:
    experiment = state.experiments[trial.experiment_id]
    job = experiment.job
    return Request(
        trial_id=trial.trial_id,
        job_id=trial.experiment_id,
        slots=trial.slots,
        position=job.position,
        number=trial.place,
        priority=max(job.priority, state.best_priority(experiment.workspace)),
        weight=job.weight,
        max_slots=job.max_slots,
        workspace=experiment.workspace,
        preemptible=job.preemptible,
        waited_s=(now - trial.waiting_since).total_seconds(),
    )


def _running(state: State, allocation: Allocation, now: datetime) -> Request:
    experiment, trial = state.experiments.get(allocation.experiment_id), state.trials.get(allocation.trial_id)
    job = experiment.job if experiment else Job(position=0.0)
    workspace = experiment.workspace if experiment else ""
    is_going = allocation.preemption_seq is not None or bool(allocation.exited)
    return Request(
        trial_id=allocation.trial_id,
        job_id=allocation.experiment_id,
        slots=sum(len(member.slots) for member in allocation.members),
        position=job.position,
        number=trial.place if trial else 0,
        priority=max(job.priority, state.best_priority(workspace)),
        weight=job.weight,
        max_slots=job.max_slots,
        workspace=workspace,
        preemptible=job.preemptible,
        placement=_usable(state, allocation),
        is_stopping=is_going or _unwanted(state, allocation, now) is not None,
    )


def _usable(state: State, allocation: Allocation) -> Placement:
    """Return what an allocation holds of slots that others could use after it."""
    placement = Placement()
    for member in allocation.members:
        agent = state.agents.get(member.agent_id)
        usable = 0 if agent is None else len(set(member.slots) - agent.closed)
        if agent is not None and (usable or not member.slots):
            placement[member.agent_id] = usable
    return placement


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
