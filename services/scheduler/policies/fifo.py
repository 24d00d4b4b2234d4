"""First in, first out: the trial at the head of the queue waits for its gang and nobody passes it, so that a stream of
small trials cannot starve a large one. Only those are passed that cannot use slots now: gangs that the pool's agents
could never hold, and trials of a job that has reached its max_slots. Tasks without slots have a queue of their own.
"""

from services.scheduler import reasons
from services.scheduler.fitting import Fleet
from services.scheduler.pool import Plan, Pool, Quota, Request


def schedule(pool: Pool) -> Plan:
    """Return the plan of one pass."""
    plan, fleet, quota = Plan(), Fleet(pool.machines, pool.policy), Quota.of(pool)
    waiting = pool.waiting()
    plan.queue = waiting
    for queue in ([r for r in waiting if r.slots], [r for r in waiting if not r.slots]):
        _serve(queue, plan, fleet, quota)
    return plan


def _serve(queue: list[Request], plan: Plan, fleet: Fleet, quota: Quota) -> None:
    head: Request | None = None
    for request in queue:
        if not fleet.can_ever_fit(request.slots):
            plan.waiting[request.trial_id] = reasons.never_fits(request, fleet)
        elif refusal := quota.refusal(request):
            plan.waiting[request.trial_id] = refusal
        elif head is not None:
            plan.waiting[request.trial_id] = reasons.behind(request, head)
        elif placement := fleet.fit(request.slots):
            plan.start(request, placement, fleet.roomy(request.slots))
            fleet.take(placement)
            quota.add(request)
        else:
            plan.waiting[request.trial_id] = reasons.no_room(request, fleet)
            head = request
