"""The events that decisions consist of: made of what the state holds, each with what made it needed."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

from services.scheduler import grounds
from services.scheduler.memory import State
from services.scheduler.pool import Plan
from services.scheduler.records import Agent, Allocation, Claimant, Trial
from services.scheduler.view import part_of, unwanted
from shared.decisions import Decision
from shared.events import (
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


def default_policy(policy: PoolPolicy) -> Decision:
    """Leave word of the policy by which pools that nobody configured are scheduled from here on."""
    return Decision(event=DefaultPolicySet(scope="default", policy=policy), causes=(), correlation="default")


def refusals(state: State, contested: AbstractSet[str]) -> list[Decision]:
    """Refuse who joins under a name whose owner was heard since, or wants other slots while some of its are held.

    If the owner is dead, it is declared lost in time, and the other joins again.
    """
    return [
        _refused(state, claimant)
        for name, claimant in sorted(state.claimants.items())
        if not claimant.is_other or name in contested
    ]


def _refused(state: State, claimant: Claimant) -> Decision:
    event = AgentRefused(
        pool_id=claimant.pool_id,
        agent_id=claimant.agent_id,
        incarnation=claimant.incarnation,
        reason=_refusal(state.agents[claimant.agent_id], claimant),
    )
    return Decision(event=event, causes=(claimant.joined_seq,), correlation=claimant.agent_id)


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


def lost_agents(state: State, silent_s: Mapping[AgentId, float], timeout_s: float) -> list[Decision]:
    """Declare agents lost that were silent for too long."""
    silent = sorted((agent_id, silence_s) for agent_id, silence_s in silent_s.items() if silence_s > timeout_s)
    return [_lost(state.agents[agent_id], silence_s) for agent_id, silence_s in silent if agent_id in state.agents]


def _lost(agent: Agent, silence_s: float) -> Decision:
    event = AgentLost(
        pool_id=agent.pool_id,
        agent_id=agent.agent_id,
        incarnation=agent.incarnation,
        silent_s=round(silence_s, 3),
    )
    return Decision(event=event, causes=(agent.joined_seq,), correlation=agent.agent_id)


def settlement(state: State, allocation: Allocation, now: datetime) -> Decision | None:
    """Release a gang that has ended, or ask one to stop that nobody wants to run there any more."""
    return _release(allocation) or _preemption(state, allocation, now)


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
    why = unwanted(state, allocation, now)
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


def carried_out(state: State, pool_id: PoolId, plan: Plan) -> Iterable[Decision]:
    """Yield what a pool's plan wants: gangs asked to stop, and others started."""
    for trial_id, by in plan.release.items():
        allocation_id_ = state.trials[trial_id].allocation_id
        assert allocation_id_ is not None, "only what runs can be asked to stop"
        yield _make_way(state, plan, state.allocations[allocation_id_], by)
    taken: dict[AgentId, set[int]] = {}
    for trial_id, placement in plan.allocate.items():
        members = tuple(_member(state, taken, machine_id, slots) for machine_id, slots in placement.items())
        fit = grounds.fit(plan, state.policy(pool_id), trial_id, placement)
        yield _allocation(state, state.trials[trial_id], members, fit)


def _member(state: State, taken: dict[AgentId, set[int]], machine_id: AgentId, slots: int) -> GangMember:
    """Give slots of an agent, the lowest numbers first."""
    agent, kind = part_of(state, machine_id)
    here = taken.setdefault(agent.agent_id, set())
    free = (state.free[agent.agent_id] - agent.closed - here) & agent.slots_of(kind)
    chosen = tuple(sorted(free)[:slots])
    here.update(chosen)
    return GangMember(agent_id=agent.agent_id, incarnation=agent.incarnation, slots=chosen)


def _make_way(state: State, plan: Plan, allocation: Allocation, by: TrialId | None) -> Decision:
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
