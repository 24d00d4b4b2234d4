"""The scheduler's state as a policy sees it: agents as machines, trials as requests."""

from collections.abc import Mapping
from datetime import datetime

from services.scheduler import closures
from services.scheduler.jobs import Terms
from services.scheduler.memory import State
from services.scheduler.pool import Machine, Placement, Pool, Request, WorkspaceUse
from services.scheduler.records import Agent, Allocation, Experiment, Job, Trial
from shared.events import PreemptionReason
from shared.ids import AgentId, ExperimentId, PoolId

#: What an experiment that is over leaves to trials of it that still hold slots.
_OVER = Job(position=0.0)


def pool_view(state: State, pool_id: PoolId, uses: Mapping[str, WorkspaceUse], now: datetime) -> Pool:
    """Return a whole pool as its policy sees it."""
    agents = (agent for agent in state.agents.values() if agent.pool_id == pool_id)
    waiting = (state.trials[trial_id] for trial_id in state.waiting[pool_id])
    held = (allocation for allocation in state.allocations.values() if allocation.pool_id == pool_id)
    requests = (
        *(waiting_request(state, trial, now) for trial in waiting if is_runnable(state, trial)),
        *(running_request(state, allocation, now) for allocation in held),
    )
    machines = tuple(machine for agent in agents for machine in machines_of(state, agent))
    return Pool(policy=state.policy(pool_id), machines=machines, requests=requests, workspaces=uses)


def workspace_uses(state: State) -> dict[str, WorkspaceUse]:
    """Return what each workspace that has a limit holds."""
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
            use.held += allocation.num_slots
    return uses


def machines_of(state: State, agent: Agent) -> list[Machine]:
    """Return an agent as machines: one for each kind of slots it has."""
    num_zero = sum(
        member.agent_id == agent.agent_id and member.incarnation == agent.incarnation and not member.slots
        for allocation_id in state.held_on.get(agent.agent_id, ())
        for member in state.allocations[allocation_id].members
    )
    free = state.free[agent.agent_id] - agent.closed
    return [
        Machine(
            agent_id=_part(agent, kind),
            slots=len(slots - agent.closed),
            free=len(free & slots) if len(agent.kinds) > 1 else len(free),
            kind=kind,
            host=agent.host,
            switch=agent.switch,
            num_zero_slot=num_zero,
            zero_slot_limit=0 if number else agent.zero_slot_limit,
            is_open=agent.is_open,
            num_closed=len(slots & agent.closed),
        )
        for number, (kind, slots) in enumerate(agent.kinds.items())
    ]


def _part(agent: Agent, kind: str) -> AgentId:
    """Return the name of an agent's slots of one kind."""
    return agent.agent_id if len(agent.kinds) == 1 else AgentId(f"{agent.agent_id}/{kind}")


def part_of(state: State, machine_id: AgentId) -> tuple[Agent, str]:
    """Return the agent and the kind of slots that a machine stands for."""
    agent_id, _, kind = machine_id.partition("/")
    agent = state.agents[AgentId(agent_id)]
    return agent, kind or next(iter(agent.kinds))


def is_runnable(state: State, trial: Trial) -> bool:
    """Say whether a trial's experiment wants it to run."""
    experiment = state.experiments.get(trial.experiment_id)
    return experiment is not None and experiment.paused_seq is None and experiment.canceled_seq is None


def terms(state: State, experiment_id: ExperimentId) -> Terms:
    """Return a job's place and rights; those of one that is over matter to nobody."""
    experiment = state.experiments.get(experiment_id)
    job, workspace = _job(experiment), experiment.workspace if experiment else ""
    return Terms(
        position=job.position,
        priority=max(job.priority, state.best_priority(workspace)),
        weight=job.weight,
        max_slots=job.max_slots,
        workspace=workspace,
    )


def _job(experiment: Experiment | None) -> Job:
    return experiment.job if experiment else _OVER


def waiting_request(state: State, trial: Trial, now: datetime) -> Request:
    """Return a runnable trial that waits."""
    shared = terms(state, trial.experiment_id)
    return Request(
        trial_id=trial.trial_id,
        job_id=trial.experiment_id,
        slots=trial.slots,
        position=shared.position,
        number=trial.place,
        priority=shared.priority,
        weight=shared.weight,
        max_slots=shared.max_slots,
        workspace=shared.workspace,
        preemptible=_job(state.experiments.get(trial.experiment_id)).preemptible,
        waited_s=(now - trial.waiting_since).total_seconds(),
    )


def running_request(state: State, allocation: Allocation, now: datetime) -> Request:
    """Return a trial that holds slots."""
    trial, shared = state.trials.get(allocation.trial_id), terms(state, allocation.experiment_id)
    is_going = allocation.preemption_seq is not None or bool(allocation.exited)
    return Request(
        trial_id=allocation.trial_id,
        job_id=allocation.experiment_id,
        slots=allocation.num_slots,
        position=shared.position,
        number=trial.place if trial else 0,
        priority=shared.priority,
        weight=shared.weight,
        max_slots=shared.max_slots,
        workspace=shared.workspace,
        preemptible=_job(state.experiments.get(allocation.experiment_id)).preemptible,
        placement=_usable(state, allocation),
        is_stopping=is_going or unwanted(state, allocation, now) is not None,
    )


def _usable(state: State, allocation: Allocation) -> Placement:
    """Return what an allocation holds of slots that others could use after it."""
    placement = Placement()
    for member in allocation.members:
        agent = state.agents.get(member.agent_id)
        if agent is None or agent.incarnation != member.incarnation:
            continue
        usable = len(set(member.slots) - agent.closed)
        if usable or not member.slots:
            placement[_part(agent, agent.kind_of(member.slots))] = usable
    return placement


def unwanted(state: State, allocation: Allocation, now: datetime) -> tuple[PreemptionReason, int] | None:
    """Say why, and because of which event, a running gang should stop; None if it should not."""
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
