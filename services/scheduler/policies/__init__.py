"""The policies, one file each, behind one function."""

from collections.abc import Callable

from services.scheduler.policies import fair_share, fifo, priority
from services.scheduler.pool import Plan, Pool
from shared.events import PolicyType

_POLICIES: dict[PolicyType, Callable[[Pool], Plan]] = {
    PolicyType.PRIORITY: priority.schedule,
    PolicyType.FAIR_SHARE: fair_share.schedule,
    PolicyType.FIFO: fifo.schedule,
}


def schedule(pool: Pool) -> Plan:
    """Return what one pass over the pool wants done, by the rules of its policy.

    What a release will free is given out by a later pass, once it is free.
    """
    return _POLICIES[pool.policy.type](pool)
