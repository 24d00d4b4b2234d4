"""Fair share: a pool's slots divided among jobs by weight, max-min fair; after Determined's, its quirks mended.

1. A job's demand is what its trials ask for, at most its max_slots. Gangs that the agents could never hold do not
   count. Running trials that cannot be preempted are offered their slots beforehand.
2. Progressive filling: in rounds, jobs in order of (demand, position), each job that wants more is offered
   min(max(1, floor(S * w / W)), what is left, what it still wants); S is what was left when the round began, w its
   weight, W the weights of all jobs that want more.
3. A gang counts whole: when a job's offer holds slots that none of its trials can use, the latest such job gives them
   back and asks for no more, and the filling goes on; so two gangs never block each other with half an offer each.
4. A job that runs more than its offer stops its newest preemptible trials, and no more than needed; one that runs less
   starts its trials in order, as far as they fit the offer and the agents. What a preemption frees is given out by
   a later pass.
5. Trials that the limit of their workspace holds back are no demand: the shares are filled again without them.
6. One gang that has waited longer than `reserve_after_s` is offered its slots beforehand, and agents are kept for it.

Tasks without slots are served first come, first served. A job without weight (0) gets one slot a round at most.
"""

from dataclasses import dataclass, field
from math import floor

from services.scheduler import reasons
from services.scheduler.fitting import Fleet
from services.scheduler.pool import Plan, Pool, Quota, Request
from shared.events import Share
from shared.ids import ExperimentId, TrialId
from shared.queue import Reason


def schedule(pool: Pool) -> Plan:
    """Return the plan of one pass."""
    held_back: dict[TrialId, Reason] = {}
    waiting = pool.waiting()
    while True:
        plan, fleet = Plan(), Fleet(pool.machines, pool.policy)
        num_held_back = len(held_back)
        _share(pool, waiting, plan, fleet, held_back)
        if len(held_back) == num_held_back:
            break
    for request in waiting:
        if request.slots == 0:
            _start_zero(request, plan, fleet)
    return plan


def _share(pool: Pool, waiting: list[Request], plan: Plan, fleet: Fleet, held_back: dict[TrialId, Reason]) -> None:
    """Divide the slots among all but those who are held back; note who turns out to be, too."""
    quota = Quota.of(pool)
    plan.waiting |= held_back
    overdue = _first_overdue(pool, fleet)
    jobs = _jobs(pool, plan, fleet, overdue)
    _fill(jobs, _capacity(pool))
    jobs.sort(key=lambda job: (overdue not in job.waiting, job.demand, job.position))
    plan.shares = {job.job_id: job.share for job in jobs}
    for job in jobs:
        if not _stop_excess(job, plan):
            _start(job, plan, fleet, overdue, quota, held_back)
    plan.queue = _order(waiting, jobs, overdue)


def _order(waiting: list[Request], jobs: list["_Job"], overdue: Request | None) -> list[Request]:
    """The jobs in the order served; after them what could never start, then the tasks without slots."""
    place = {job.job_id: number for number, job in enumerate(jobs)}
    last = len(place)
    return sorted(
        waiting,
        key=lambda request: (
            last + 1 if request.slots == 0 else place.get(request.job_id, last),
            request is not overdue,
            request.order,
        ),
    )


@dataclass(slots=True, kw_only=True)
class _Job:
    """A job's requests in order, and what it is offered."""

    job_id: ExperimentId
    position: tuple[float, int, str]
    weight: float
    limit: int | None
    running: list[Request] = field(default_factory=list)
    waiting: list[Request] = field(default_factory=list)
    firm: int = 0  # offered beforehand
    offered: int = 0

    @property
    def held(self) -> int:
        """The slots of its running trials."""
        return sum(request.slots for request in self.running)

    @property
    def demand(self) -> int:
        """The slots it wants in all."""
        wanted = sum(request.slots for request in (*self.running, *self.waiting))
        return max(self.firm, wanted if self.limit is None else min(wanted, self.limit))

    @property
    def share(self) -> Share:
        """How it fares, in plain numbers."""
        return Share(
            experiment_id=self.job_id, weight=self.weight, offered=self.offered, held=self.held, demand=self.demand
        )

    @property
    def usable(self) -> int:
        """How much of its offer whole gangs can use: those that run first, then those that wait, in order."""
        used = 0
        for request in (*self.running, *self.waiting):
            if used + request.slots <= self.offered:
                used += request.slots
        return max(used, self.firm)


def _first_overdue(pool: Pool, fleet: Fleet) -> Request | None:
    quota = Quota.of(pool)
    for request in pool.waiting():
        if pool.is_overdue(request) and fleet.can_ever_fit(request.slots) and quota.refusal(request) is None:
            return request
    return None


def _jobs(pool: Pool, plan: Plan, fleet: Fleet, overdue: Request | None) -> list[_Job]:
    jobs: dict[str, _Job] = {}
    for request in sorted(pool.requests, key=lambda request: request.order):
        if request.slots == 0:
            continue
        if request.placement is None and not fleet.can_ever_fit(request.slots):
            plan.waiting[request.trial_id] = reasons.never_fits(request, fleet)
            continue
        if request.trial_id in plan.waiting:
            continue
        fresh = _Job(job_id=request.job_id, position=request.order, weight=request.weight, limit=request.max_slots)
        job = jobs.setdefault(request.job_id, fresh)
        if request.is_stopping:  # it is no demand any more, but holds its slots yet
            job.limit = None if job.limit is None else max(0, job.limit - request.slots)
            continue
        (job.waiting if request.placement is None else job.running).append(request)
        is_firm = not (request.preemptible and pool.policy.preemption)
        if request is overdue or (request.placement is not None and is_firm):
            job.firm += request.slots
    return list(jobs.values())


def _capacity(pool: Pool) -> int:
    """The open slots, and what still runs on the others."""
    is_open = {machine.agent_id for machine in pool.machines if machine.is_open}
    elsewhere = sum(
        request.slots - sum(slots for agent_id, slots in request.placement.items() if agent_id in is_open)
        for request in pool.requests
        if request.placement is not None and not request.is_stopping
    )
    return elsewhere + sum(machine.slots for machine in pool.machines if machine.is_open)


def _fill(jobs: list[_Job], capacity: int) -> None:
    for job in jobs:
        job.offered = job.firm
    left = capacity - sum(job.firm for job in jobs)
    while True:
        left = _rounds(jobs, left)
        stuck = [job for job in jobs if job.usable < job.offered]
        if not stuck:
            return
        latest = max(stuck, key=lambda job: job.position)
        left += latest.offered - latest.usable
        latest.offered = latest.limit = latest.usable


def _rounds(jobs: list[_Job], left: int) -> int:
    while left > 0 and (hungry := [job for job in jobs if job.offered < job.demand]):
        total_weight, at_start = sum(job.weight for job in hungry), left
        for job in sorted(hungry, key=lambda job: (job.demand, job.position)):
            part = floor(at_start * job.weight / total_weight) if total_weight else 0
            offer = min(max(1, part), left, job.demand - job.offered)
            job.offered += offer
            left -= offer
    return left


def _stop_excess(job: _Job, plan: Plan) -> bool:
    """Stop the newest until the job is within its offer; say whether it was beyond."""
    excess = job.held - job.offered
    if excess <= 0:
        return False
    victims = []
    for request in reversed(job.running):
        if excess > 0 and request.preemptible:
            victims.append(request)
            excess -= request.slots
    for request in reversed(victims):  # whoever is not needed after all, the oldest first
        if excess + request.slots <= 0:
            excess += request.slots
            victims.remove(request)
    plan.release |= {request.trial_id: None for request in victims}
    _wait(job, plan)
    return True


def _start(
    job: _Job, plan: Plan, fleet: Fleet, overdue: Request | None, quota: Quota, held_back: dict[TrialId, Reason]
) -> None:
    room = job.offered - job.held
    for request in sorted(job.waiting, key=lambda request: (request is not overdue, request.order)):
        if request.slots > room:
            plan.waiting[request.trial_id] = reasons.over_share(request, job.offered, job.held)
        elif refusal := quota.workspace_refusal(request):
            held_back[request.trial_id] = refusal
        elif placement := fleet.fit(request.slots):
            plan.start(request, placement, fleet.roomy(request.slots))
            fleet.take(placement)
            quota.add(request)
            room -= request.slots
        elif request is overdue:
            kept = fleet.reservation(request.slots)
            plan.waiting[request.trial_id] = reasons.reserved(request, fleet, kept)
            fleet.hold(kept)
            room -= request.slots
        else:
            plan.waiting[request.trial_id] = reasons.no_room(request, fleet)


def _wait(job: _Job, plan: Plan) -> None:
    for request in job.waiting:
        plan.waiting[request.trial_id] = reasons.over_share(request, job.offered, job.held)


def _start_zero(request: Request, plan: Plan, fleet: Fleet) -> None:
    if not fleet.can_ever_fit(0):
        plan.waiting[request.trial_id] = reasons.never_fits(request, fleet)
    elif placement := fleet.fit(0):
        plan.start(request, placement, fleet.roomy(0))
        fleet.take(placement)
    else:
        plan.waiting[request.trial_id] = reasons.no_room(request, fleet)
