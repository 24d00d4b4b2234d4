"""First in, first out: the trial at the head of the queue waits for its gang and nobody passes it, so that a stream of
small trials cannot starve a large one; also where it waits for an agent that takes no new work now. Only those are
passed that cannot use slots: gangs that the pool's agents could never hold, not even if all of them were idle and open,
and trials of a job that has reached its max_slots. Tasks without slots have a queue of their own.
"""

from services.scheduler import reasons
from services.scheduler.books import Books, Quota
from services.scheduler.pool import Asked, Plan, Request
from services.scheduler.waiting import ONE_LANE, Passed


def schedule(books: Books, asked: Asked, *, is_plain: bool) -> Plan:
    """Return the plan of one pass."""
    plan, quota = Plan(asked=asked), Quota(books)
    for with_slots in (True, False):
        _serve(books, plan, quota, Passed(is_plain=is_plain), with_slots=with_slots)
    books.close()
    plan.queue = books.queue.in_order(asked)
    return plan


def _serve(books: Books, plan: Plan, quota: Quota, passed: Passed, *, with_slots: bool) -> None:
    head: Request | None = None
    for request in books.queue.walk(ONE_LANE, with_slots=with_slots, passed=passed, asked=plan.asked):
        if not books.fleet.could_hold(request.slots):
            plan.wait(request, reasons.never_fits, books.fleet)
            passed.sizes.add(request.slots)
        elif refusal := quota.refusal(request):
            plan.note(request, refusal)
            passed.lines.add((request.job_id, request.slots))
        elif head is not None:
            plan.wait(request, reasons.behind, head)
        elif placement := books.fleet.fit(request.slots):
            plan.start(request, placement, books.fleet.roomy(request.slots))
            books.fleet.take(placement)
            quota.add(request)
        else:
            plan.wait(request, reasons.no_room, books.fleet)
            head = request
            passed.everyone = True
