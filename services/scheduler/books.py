"""A pool's books: what policies decide from, kept in order as things happen.

The same books are made of plain values for one pass (`Books.of`: tests, `tm simulate`) and kept up from event to event
by the scheduler (`engine.py`). A change costs what it touches. A pass books its own steps, and undoes them in the end.
"""

from collections.abc import Iterable, Mapping

from services.scheduler import reasons
from services.scheduler.fitting import Fleet
from services.scheduler.jobs import Job, Terms, terms_of
from services.scheduler.pool import Machine, Placement, Pool, Request, WorkspaceUse, is_overdue
from services.scheduler.reclaim import Reclaim
from services.scheduler.waiting import Queue
from shared.events import PolicyType, PoolPolicy
from shared.ids import AgentId, ExperimentId, TrialId
from shared.queue import Reason


class Books:
    """One pool. `fleet` shows what is free now, `after` what is once those who were asked to stop have stopped."""

    def __init__(self, policy: PoolPolicy) -> None:
        self.policy = policy
        self.fleet, self.after = Fleet((), policy), Fleet((), policy)
        self.reclaim = Reclaim(self.after)
        self.version = 0  # counts changes
        self.queue = Queue(has_lanes=policy.type is PolicyType.PRIORITY)
        self.jobs: dict[ExperimentId, Job] = {}
        self.workspaces: Mapping[str, WorkspaceUse] = {}  # those that have a limit
        self.running: dict[TrialId, Request] = {}
        self._stopping_on: dict[AgentId, dict[TrialId, None]] = {}
        self._unfiled: dict[ExperimentId, None] = {}
        self._going_on: dict[AgentId, int] = {}  # slots of trials that are to go on, by agent
        self._going = self._going_open = 0  # of these in all, and on open agents
        self._victims: list[Request] = []  # of this pass
        self.memo: object = None  # what a policy keeps from pass to pass

    @classmethod
    def of(cls, pool: Pool) -> "Books":
        """Make the books of plain values."""
        books = cls(pool.policy)
        books.workspaces = pool.workspaces
        for machine in sorted(pool.machines, key=lambda machine: machine.agent_id):
            books.put(machine)
        for request in pool.requests:
            books.set_job(request.job_id, terms_of(request))
            if request.placement is not None:
                books.hold(request)
            else:
                books.want(
                    request.job_id,
                    request.trial_id,
                    request.slots,
                    request.number,
                    preemptible=request.preemptible,
                    is_overdue=is_overdue(pool.policy, request.slots, request.waited_s),
                )
        return books

    @property
    def has_lanes(self) -> bool:
        """Whether the queue is served by priority, and others may be stopped for it."""
        return self.policy.type is PolicyType.PRIORITY

    def put(self, machine: Machine) -> None:
        """Take note of an agent, or of what has become of it."""
        if self.fleet.machines.get(machine.agent_id) == machine:
            return
        self.version += 1
        self._open_or_close(machine.agent_id, -1)
        self.fleet.put(machine)
        self._open_or_close(machine.agent_id, 1)
        if self.has_lanes:
            self.after.put(machine)
            for trial_id in self._stopping_on.get(machine.agent_id, ()):
                self._fall_free(self.running[trial_id], machine.agent_id, 1)
            self.reclaim.touch(machine.agent_id)

    def remove(self, agent_id: AgentId) -> None:
        """Forget an agent."""
        self.version += 1
        self._open_or_close(agent_id, -1)
        self.fleet.remove(agent_id)
        self.after.remove(agent_id)
        self.reclaim.touch(agent_id)

    def set_job(self, job_id: ExperimentId, terms: Terms) -> None:
        """Take note of a job, or of what has become of its place and rights."""
        job = self.jobs.get(job_id)
        if job is None:
            self.jobs[job_id] = Job(job_id, terms)
            self._unfiled[job_id] = None
        elif job.terms != terms:
            self.version += 1
            running = list(job.running.values())
            for request in running:
                self.unhold(request.trial_id)
            job.terms, job.is_changed = terms, True
            for request in running:
                self.hold(job.retold(request))
            self._unfiled[job_id] = None

    def want(
        self, job_id: ExperimentId, trial_id: TrialId, slots: int, number: int, *, preemptible: bool, is_overdue: bool
    ) -> None:
        """Let a trial of a known job wait. See Request."""
        self.version += 1
        self.queue.add(self.jobs[job_id], trial_id, slots, number, preemptible=preemptible, is_overdue=is_overdue)
        self._unfiled[job_id] = None

    def unwant(self, trial_id: TrialId) -> None:
        """Let a trial wait no more, if it does."""
        if trial_id in self.queue:
            self.version += 1
            self._unfiled[self.queue.remove(trial_id)] = None

    def hold(self, request: Request) -> None:
        """Take note of a trial that holds slots, or of what has become of it.

        The agents' free slots are told apart (`put`).
        """
        self.unhold(request.trial_id)
        self.version += 1
        self.running[request.trial_id] = request
        self.jobs[request.job_id].add(request)
        self._unfiled[request.job_id] = None
        self._count(request, 1)
        if self.has_lanes:
            if request.is_stopping:
                for agent_id in request.placement or ():
                    self._stopping_on.setdefault(agent_id, {})[request.trial_id] = None
                    self._fall_free(request, agent_id, 1)
            elif self.policy.preemption:
                self.reclaim.add(request)

    def unhold(self, trial_id: TrialId) -> None:
        """Forget a trial that held slots, if it did."""
        request = self.running.pop(trial_id, None)
        if request is None:
            return
        self.version += 1
        self.jobs[request.job_id].subtract(request)
        self._unfiled[request.job_id] = None
        self._count(request, -1)
        if self.has_lanes:
            self.reclaim.remove(request)
            if request.is_stopping:
                for agent_id in request.placement or ():
                    del self._stopping_on[agent_id][trial_id]
                    if not self._stopping_on[agent_id]:
                        del self._stopping_on[agent_id]
                    self._fall_free(request, agent_id, -1)

    def _fall_free(self, request: Request, agent_id: AgentId, sign: int) -> None:
        slots = (request.placement or {})[agent_id]
        self.after.change(agent_id, sign * slots, sign if slots == 0 else 0)
        self.reclaim.touch(agent_id)

    def capacity(self) -> int:
        """Return the slots of the open agents, and those elsewhere whose trials go on."""
        return self.fleet.num_slots + self._going - self._going_open

    def _count(self, request: Request, sign: int) -> None:
        if not request.is_stopping:
            self._going += sign * request.slots
            for agent_id, slots in (request.placement or {}).items():
                self._going_on[agent_id] = self._going_on.get(agent_id, 0) + sign * slots
                if self.fleet.is_open(agent_id):
                    self._going_open += sign * slots

    def _open_or_close(self, agent_id: AgentId, sign: int) -> None:
        if self.fleet.is_open(agent_id):
            self._going_open += sign * self._going_on.get(agent_id, 0)
        elif sign < 0 and not self._going_on.get(agent_id, 1):
            del self._going_on[agent_id]

    def open(self) -> None:
        """Bring the queue up to date; a pass may begin."""
        self.queue.file(self._unfiled)
        for job_id in self._unfiled:
            if not self.jobs[job_id].running and not self.jobs[job_id].waiting:
                del self.jobs[job_id]
        self._unfiled.clear()

    def stop(self, victims: list[Request]) -> None:
        """Count running trials as stopped, in this pass."""
        for victim in victims:
            self._victims.append(victim)
            self.reclaim.remove(victim)
            self.after.give(victim.placement or {})
            self._touch(victim.placement or {})

    def unstop(self, victims: list[Request]) -> None:
        """Count them as running after all."""
        for victim in victims:
            self._victims.remove(victim)
            self.reclaim.add(victim)
            self.book(self.after, victim.placement or {})

    def book(self, fleet: Fleet, placement: Placement) -> None:
        """Book a gang's slots, now or once others have stopped, in this pass."""
        fleet.take(placement)
        if fleet is self.after:
            self._touch(placement)

    def keep(self, fleet: Fleet, agent_ids: tuple[AgentId, ...]) -> None:
        """Keep agents from whoever comes later in this pass."""
        fleet.hold(agent_ids)
        if fleet is self.after:
            self._touch(agent_ids)

    def look_ahead(self) -> None:
        """Let `after` show what this pass has booked so far."""
        self.after.repeat(self.fleet)
        self._touch(self.fleet.booked)

    def close(self) -> None:
        """Undo what a pass has booked."""
        self.fleet.undo()
        self._touch(self.after.booked)
        self.after.undo()
        for victim in self._victims:
            self.reclaim.add(victim)
        self._victims.clear()

    def _touch(self, agent_ids: Iterable[AgentId]) -> None:
        for agent_id in agent_ids:
            self.reclaim.touch(agent_id)


class Quota:
    """How many slots each job and each workspace holds, against `max_slots` and the limit that is set for it, as a pass
    goes on."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._of_job: dict[ExperimentId, int] = {}
        self._of_workspace: dict[str, int] = {}

    def add(self, request: Request) -> None:
        """Count one more that takes its place."""
        self._of_job[request.job_id] = self._of_job.get(request.job_id, 0) + request.slots
        self._of_workspace[request.workspace] = self._of_workspace.get(request.workspace, 0) + request.slots

    def refusal(self, request: Request) -> Reason | None:
        """Say why a request would exceed its job's limit or its workspace's, or None."""
        return self.job_refusal(request) or self.workspace_refusal(request)

    def job_refusal(self, request: Request) -> Reason | None:
        """Say why a request would exceed its job's limit, or None."""
        if request.max_slots is None or not request.slots:
            return None
        held = self._books.jobs[request.job_id].held + self._of_job.get(request.job_id, 0)
        return None if held + request.slots <= request.max_slots else reasons.over_max_slots(request, held)

    def workspace_refusal(self, request: Request) -> Reason | None:
        """Say why a request would exceed its workspace's limit, or None."""
        use = self._books.workspaces.get(request.workspace)
        if use is None or not request.slots:
            return None
        held = use.held + self._of_workspace.get(request.workspace, 0)
        return None if held + request.slots <= use.limit else reasons.over_limit(request, held, use.limit)
