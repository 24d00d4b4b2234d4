"""A pool without a cluster: the real policies on values instead of events. `tm simulate` drives it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from services.scheduler import scenario
from services.scheduler.books import Books
from services.scheduler.fitting import Fleet
from services.scheduler.lanes import beside
from services.scheduler.policies import look, schedule
from services.scheduler.pool import Machine, Placement, Plan, Pool, Request
from services.scheduler.reasons import never_fits, sentence
from shared.errors import Problem, Rejected
from shared.events import PoolPolicy
from shared.ids import AgentId, ExperimentId, TrialId


@dataclass(slots=True, kw_only=True)
class SimulatedJob:
    """A job as it is now."""

    position: float
    submitted: float
    priority: int
    weight: float
    max_slots: int | None


@dataclass(slots=True, kw_only=True)
class SimulatedTrial:
    """A trial that has not ended."""

    spec: scenario.Trial
    number: int
    placement: Placement | None = None
    waiting_since_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class SimulatedPool:
    """Agents, jobs and trials; `run_pass` asks the policy, `start` does what it wanted."""

    policy: PoolPolicy
    agents: dict[str, scenario.Agent] = field(default_factory=dict)
    jobs: dict[str, SimulatedJob] = field(default_factory=dict)
    trials: dict[str, SimulatedTrial] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    now_s: float = 0.0
    num_submitted: int = 0

    def add_agents(self, agents: Iterable[scenario.Agent], path: str) -> None:
        """Let agents join."""
        for index, agent in enumerate(agents):
            if agent.id in self.agents:
                raise _mistake(f"{path}[{index}].id", f"agent {agent.id} is there already")
            self.agents[agent.id] = agent

    def add_jobs(self, jobs: Iterable[scenario.Job], trials: Iterable[scenario.Trial], path: str) -> None:
        """Submit jobs, in order of their submission, then of their first trial."""
        specs: dict[str, scenario.Job] = {}
        for index, job in enumerate(jobs):
            if job.id in specs or job.id in self.jobs:
                raise _mistake(f"{path}[{index}].id", f"job {job.id} is there already")
            specs[job.id] = job
        by_first_trial = dict.fromkeys([trial.job_id for trial in trials])
        listed = [
            specs.get(name) or scenario.Job(id=name) for name in [*by_first_trial, *specs] if name not in self.jobs
        ]
        for job in _in_order_of_submission(list({job.id: job for job in listed}.values())):
            position = 1.0 + max((known.submitted for known in self.jobs.values()), default=0.0)
            self.jobs[job.id] = SimulatedJob(
                position=position,
                submitted=position,
                priority=job.priority,
                weight=job.weight,
                max_slots=job.max_slots,
            )

    def add_trials(self, trials: Iterable[scenario.Trial], path: str) -> None:
        """Submit trials; those that could never fit are refused. A pool without agents refuses nothing, as some may
        join."""
        machines = {machine.agent_id: machine for machine in self._machines()}
        fleet = Fleet(machines.values(), self.policy)
        for index, spec in enumerate(trials):
            if spec.id in self.trials or spec.id in self.refused:
                raise _mistake(f"{path}[{index}].id", f"trial {spec.id} is there already")
            self.num_submitted += 1
            trial = SimulatedTrial(spec=spec, number=self.num_submitted, waiting_since_s=self.now_s)
            if spec.running_on is not None:
                trial.placement = _checked_placement(spec, machines, f"{path}[{index}].running_on")
                machines |= _occupied(machines, trial.placement)
            elif refusal := self._refusal(trial, fleet):
                self.refused[spec.id] = refusal
                continue
            self.trials[spec.id] = trial

    def run_pass(self) -> Plan:
        """Ask the policy once, also why others wait; nothing changes yet."""
        self.plan = schedule(self.view())
        return self.plan

    def run_silent_pass(self) -> Plan:
        """Ask the policy once what it wants done; nothing changes yet."""
        self.plan = look(Books.of(self.view()), asked=())
        return self.plan

    def start(self) -> list[TrialId]:
        """Do what the last pass wanted; return who was started."""
        for trial_id in self.plan.release:
            if trial_id in self.trials:
                self._put_back(self.trials[trial_id])
        machines = {machine.agent_id: machine for machine in self._machines()}
        started = []
        for trial_id, placement in self.plan.allocate.items():
            trial = self.trials.get(trial_id)
            if trial is not None and trial.placement is None and self._has_room(machines, placement):
                trial.placement = placement
                machines |= _occupied(machines, placement)
                started.append(trial_id)
        self.plan = Plan()
        return started

    def _has_room(self, machines: dict[AgentId, Machine], placement: Placement) -> bool:
        """Say whether what a pass allocated is still there: agents may have gone or been disabled since."""
        return all(
            agent_id in machines and self.agents[agent_id].enabled and _room(machines[agent_id], slots) >= 0
            for agent_id, slots in placement.items()
        )

    def finish(self, trial_ids: Iterable[str], path: str) -> None:
        """End trials."""
        for index, trial_id in enumerate(trial_ids):
            if trial_id not in self.trials:
                raise _mistake(f"{path}[{index}]", f"there is no trial {trial_id} that has not ended")
            del self.trials[trial_id]

    def stop(self, trial_ids: Iterable[str], path: str) -> None:
        """Put running trials back into the queue."""
        for index, trial_id in enumerate(trial_ids):
            if trial_id not in self.trials or self.trials[trial_id].placement is None:
                raise _mistake(f"{path}[{index}]", f"no trial {trial_id} is running")
            self._put_back(self.trials[trial_id])

    def move(self, step: scenario.Move, path: str) -> None:
        """Move a job beside another, into its lane."""
        anchor = step.ahead_of or step.behind
        if anchor is None or (step.ahead_of and step.behind):
            raise _mistake(path, "give either ahead_of or behind")
        job, other = self._job(step.job, f"{path}.job"), self._job(anchor, path)
        if job is other:
            raise _mistake(path, f"job {anchor} cannot be moved beside itself")
        job.priority = other.priority
        lane = [found.position for found in self.jobs.values() if found is not job and found.priority == job.priority]
        job.position = beside(other.position, lane, ahead=step.ahead_of is not None)

    def set(self, step: scenario.Set, path: str) -> None:
        """Change a job; a new priority puts it at the place of its submission."""
        job = self._job(step.job, f"{path}.job")
        if step.priority is UNSET and step.weight is UNSET and step.max_slots is UNSET:
            raise _mistake(path, "give priority, weight or max_slots")
        if step.priority is not UNSET:
            job.priority, job.position = step.priority, job.submitted
        job.weight = job.weight if step.weight is UNSET else step.weight
        job.max_slots = job.max_slots if step.max_slots is UNSET else step.max_slots

    def change_agent(self, agent_id: str, path: str, *, enabled: bool, draining: bool) -> None:
        """Open or close an agent; a disabled one loses what runs there."""
        agent = self._agent(agent_id, path)
        self.agents[agent_id] = msgspec.structs.replace(agent, enabled=enabled, draining=draining)
        if not enabled:
            self._empty(agent_id)

    def lose_agent(self, agent_id: str, path: str) -> None:
        """Remove an agent."""
        del self.agents[self._agent(agent_id, path).id]
        self._empty(agent_id)

    def view(self) -> Pool:
        """Return the pool as its policy sees it."""
        return Pool(
            policy=self.policy, machines=self._machines(), requests=tuple(map(self._request, self.trials.values()))
        )

    def _machines(self) -> tuple[Machine, ...]:
        used, zeros = dict.fromkeys(self.agents, 0), dict.fromkeys(self.agents, 0)
        for trial in self.trials.values():
            for agent_id, slots in (trial.placement or {}).items():
                used[agent_id] += slots
                zeros[agent_id] += slots == 0
        return tuple(_machine(agent, used[agent.id], zeros[agent.id]) for agent in self.agents.values())

    def _request(self, trial: SimulatedTrial) -> Request:
        job = self.jobs[trial.spec.job_id]
        return Request(
            trial_id=TrialId(trial.spec.id),
            job_id=ExperimentId(trial.spec.job_id),
            slots=trial.spec.slots,
            position=job.position,
            number=trial.number,
            priority=job.priority,
            weight=job.weight,
            max_slots=job.max_slots,
            preemptible=trial.spec.preemptible,
            waited_s=self.now_s - trial.waiting_since_s,
            placement=trial.placement,
        )

    def _refusal(self, trial: SimulatedTrial, fleet: Fleet) -> str | None:
        request = self._request(trial)
        if request.max_slots is not None and request.slots > request.max_slots:
            return f"needs {request.slots} slots; its job {request.job_id} may hold {request.max_slots} (max_slots)"
        return None if not self.agents or fleet.could_hold(request.slots) else sentence(never_fits(request, fleet))

    def _put_back(self, trial: SimulatedTrial) -> None:
        trial.placement, trial.waiting_since_s = None, self.now_s

    def _empty(self, agent_id: str) -> None:
        for trial in self.trials.values():
            if trial.placement and agent_id in trial.placement:
                self._put_back(trial)

    def _job(self, job_id: str, path: str) -> SimulatedJob:
        if job_id not in self.jobs:
            raise _mistake(path, f"there is no job {job_id}")
        return self.jobs[job_id]

    def _agent(self, agent_id: str, path: str) -> scenario.Agent:
        if agent_id not in self.agents:
            raise _mistake(path, f"there is no agent {agent_id}")
        return self.agents[agent_id]


def _checked_placement(spec: scenario.Trial, machines: dict[AgentId, Machine], path: str) -> Placement:
    """Return where a trial runs. Raises Rejected when it cannot be running there."""
    placement = {AgentId(agent_id): slots for agent_id, slots in (spec.running_on or {}).items()}
    for agent_id, slots in placement.items():
        if agent_id not in machines:
            raise _mistake(f"{path}.{agent_id}", f"there is no agent {agent_id}")
        if _room(machines[agent_id], slots) < 0:
            free = machines[agent_id].free
            what = f"{slots} slots are more than the {free} that are free there"
            raise _mistake(f"{path}.{agent_id}", what if slots else "it runs as many tasks without slots as it may")
        if (slots == 0) is not (spec.slots == 0):
            raise _mistake(f"{path}.{agent_id}", f"{slots} slots are no part of {spec.slots}")
    if sum(placement.values()) != spec.slots or not placement:
        raise _mistake(path, f"the slots must add up to {spec.slots}")
    if len({machines[agent_id].kind for agent_id in placement}) > 1 or (spec.slots == 0 and len(placement) > 1):
        raise _mistake(path, "a gang has slots of one slot_type, and a task without slots one agent")
    return placement


def _room(machine: Machine, slots: int) -> int:
    """Return how much would be left on an agent; less than 0 when a part of a gang does not fit."""
    return machine.free - slots if slots else machine.zero_slot_limit - machine.num_zero_slot - 1


def _occupied(machines: dict[AgentId, Machine], placement: Placement) -> dict[AgentId, Machine]:
    """Return a gang's agents as they are with it."""
    return {
        agent_id: msgspec.structs.replace(
            machines[agent_id],
            free=machines[agent_id].free - slots,
            num_zero_slot=machines[agent_id].num_zero_slot + (slots == 0),
        )
        for agent_id, slots in placement.items()
    }


def _in_order_of_submission(jobs: list[scenario.Job]) -> list[scenario.Job]:
    """One without a time was submitted when the one listed before it was."""
    keyed, latest = [], float("-inf")
    for job in jobs:
        at = job.submitted_at
        if isinstance(at, datetime):  # one without a time zone is in UTC
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        moment = latest if at is None else at
        latest = max(latest, moment)
        keyed.append((moment, job))
    return [job for _, job in sorted(keyed, key=lambda pair: pair[0])]


def _machine(agent: scenario.Agent, used: int, num_zero: int) -> Machine:
    labels = agent.labels if isinstance(agent.labels, dict) else dict(_pair(label) for label in agent.labels)
    return Machine(
        agent_id=AgentId(agent.id),
        slots=agent.slots,
        free=agent.slots - used,
        kind=agent.slot_type,
        host=labels.get("host", ""),
        switch=labels.get("switch", ""),
        num_zero_slot=num_zero,
        zero_slot_limit=agent.zero_slot_limit,
        is_open=agent.enabled and not agent.draining,
    )


def _pair(label: str) -> tuple[str, str]:
    name, _, value = label.partition("=")
    return name, value


def _mistake(path: str, what: str) -> Rejected:
    return Rejected("the simulation file has a mistake", (Problem(path, what),))
