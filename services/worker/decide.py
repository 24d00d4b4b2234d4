"""What each gang on this agent has to be told now. Pure: the state, and what was told already, in; the difference out.

A gang is told each thing once: that it starts, where its ranks meet, to stop, to die, how other agents' ranks ended,
which parts of a checkpoint they have stored. What an allocation needs follows from the state alone, so a missed or a
repeated look changes nothing.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from services.worker.allocation import Allocation, MemberExit, Rendezvous, Shard
from services.worker.state import State
from shared.events import PreemptionReason
from shared.ids import AllocationId


class KillReason(StrEnum):
    """Why ranks are killed without being asked to stop."""

    VOID = "the allocation is void"
    AGENT_LOST = "another agent of the gang was lost"
    MEMBER_ENDED = "the ranks on another agent ended"
    CHIEF_GONE = "the gang's first agent is gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Run this agent's share of the gang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Let the ranks checkpoint and end; kill them after the timeout."""

    reason: str
    timeout_s: float
    seq: int | None  # the request on the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """End the ranks at once."""

    reason: KillReason
    seq: int | None = None  # the request on the log


Order = Start | Rendezvous | Stop | Kill | MemberExit | Shard


def decide(state: State, told: Mapping[AllocationId, AbstractSet[Order]]) -> list[tuple[AllocationId, Order]]:
    """Return the orders that are missing. `told` has an entry for every gang that was started and is not forgotten."""
    missing: list[tuple[AllocationId, Order]] = [
        (allocation_id, Kill(reason=KillReason.VOID))
        for allocation_id, orders in told.items()
        if allocation_id not in state.allocations and Kill(reason=KillReason.VOID) not in orders
    ]
    for allocation in state.allocations.values():
        already = told.get(allocation.allocation_id, frozenset())
        orders = (order for order in _orders(state, allocation) if order not in already)
        missing += [(allocation.allocation_id, order) for order in orders]
    return missing


def settled(state: State, told: Mapping[AllocationId, AbstractSet[Order]]) -> list[tuple[AllocationId, Order]]:
    """Return the parts of checkpoints that were told and need not be remembered: their checkpoint is on the log."""
    return [
        (allocation.allocation_id, order)
        for allocation in state.allocations.values()
        for order in told.get(allocation.allocation_id, frozenset())
        if isinstance(order, Shard) and order not in allocation.shards
    ]


def _orders(state: State, allocation: Allocation) -> Iterator[Order]:
    """All that the gang has to know by now, the first first."""
    is_chief = allocation.chief == state.agent_id
    yield Start()
    if allocation.rendezvous and not is_chief:
        yield allocation.rendezvous
    if preemption := allocation.preemption:
        if preemption.reason is PreemptionReason.AGENT_LOST:
            yield Kill(reason=KillReason.AGENT_LOST, seq=preemption.seq)
        else:
            yield Stop(reason=preemption.reason, timeout_s=preemption.timeout_s, seq=preemption.seq)
    if is_chief:
        yield from (ended for ended in allocation.exits if ended.agent_id != state.agent_id)
        yield from (shard for shard in allocation.shards if shard.agent_id != state.agent_id)
