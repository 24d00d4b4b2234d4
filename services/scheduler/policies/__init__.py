"""The policies, one file each, behind one function."""

from typing import Protocol

from services.scheduler.books import Books
from services.scheduler.policies import fair_share, fifo, priority
from services.scheduler.pool import Asked, Plan, Pool
from shared.events import PolicyType


class _Policy(Protocol):
    def __call__(self, books: Books, asked: Asked, *, is_plain: bool) -> Plan: ...


_POLICIES: dict[PolicyType, _Policy] = {
    PolicyType.PRIORITY: priority.schedule,
    PolicyType.FAIR_SHARE: fair_share.schedule,
    PolicyType.FIFO: fifo.schedule,
}


def schedule(pool: Pool) -> Plan:
    """Return what one pass over the pool wants done, by the rules of its policy, and why everyone else waits.

    What a release will free is given out by a later pass, once it is free.
    """
    plan = look(Books.of(pool), asked=None)
    told = {request.trial_id: request for request in pool.requests}
    plan.queue = [told[request.trial_id] for request in plan.queue]
    return plan


def look(books: Books, *, asked: Asked, is_plain: bool = False) -> Plan:
    """Return what one pass over the books wants done, and why those whom it is asked about wait.

    A plain pass takes no short cut: it looks at everyone who waits. Its plan is the same; tests hold the others to it.
    """
    books.open()
    return _POLICIES[books.policy.type](books, asked, is_plain=is_plain)
