"""Which agents and slots take no new work: an administrator said so, the agent was told to end, a GPU is unhealthy.

An administrator's word is kept by the agent's name, for every incarnation of it, until it is enabled. An agent as a
whole and each of its slots are closed and opened independently; a slot takes work when neither is closed. The latest
word about each counts. A fault is kept beside it, until the agent finds the slot healthy or an administrator enables
the slot. That an agent was told to end holds for one incarnation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.events import (
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    GangMember,
    PreemptionReason,
    SlotRecovered,
    SlotUnhealthy,
)
from shared.ids import AgentId

WHOLE = -1  # in place of a slot's number
LEAVING = -2  # likewise: the present incarnation as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """No new work. What runs there stops from `ends_at` on; None: it may go on."""

    reason: PreemptionReason
    seq: int
    ends_at: datetime | None


#: By agent, then by slot (or WHOLE, or LEAVING).
Closures = dict[AgentId, dict[int, Closure]]

#: The slots whose GPU is unhealthy.
Faults = dict[AgentId, frozenset[int]]


def note(
    closures: Closures, event: AgentDrainRequested | AgentDisabled | AgentEnabled, seq: int, time: datetime
) -> None:
    """Take note of an administrator's word."""
    here = closures.setdefault(event.agent_id, {})
    for slot in event.slots or (WHOLE,):
        match event:
            case AgentEnabled():
                here.pop(slot, None)
            case AgentDisabled():
                here[slot] = Closure(reason=PreemptionReason.DISABLED, seq=seq, ends_at=time)
            case AgentDrainRequested():
                ends_at = None if event.grace_s is None else time + timedelta(seconds=event.grace_s)
                here[slot] = Closure(reason=PreemptionReason.DRAINED, seq=seq, ends_at=ends_at)
    if not here:
        del closures[event.agent_id]


def note_fault(faults: Faults, event: SlotUnhealthy | SlotRecovered | AgentEnabled) -> None:
    """Take note of what an agent says of a slot's health, or that an administrator knows better."""
    sick = faults.get(event.agent_id, frozenset())
    match event:
        case SlotUnhealthy():
            sick |= {event.slot}
        case SlotRecovered():
            sick -= {event.slot}
        case AgentEnabled():
            sick -= set(event.slots)
    faults[event.agent_id] = sick
    if not sick:
        del faults[event.agent_id]


def leave(closures: Closures, agent_id: AgentId, seq: int, time: datetime) -> None:
    """An agent was told to end: what runs there stops now."""
    leaving = Closure(reason=PreemptionReason.LEAVING, seq=seq, ends_at=time)
    closures.setdefault(agent_id, {})[LEAVING] = leaving


def forget(closures: Closures, agent_id: AgentId) -> None:
    """An incarnation is gone; what an administrator said holds for the next."""
    here = closures.get(agent_id, {})
    here.pop(LEAVING, None)
    if not here:
        closures.pop(agent_id, None)


def closed_slots(closures: Closures, faults: Faults, agent_id: AgentId, slots: frozenset[int]) -> frozenset[int]:
    """Return which of an agent's slots are closed one by one."""
    return slots & (closures.get(agent_id, {}).keys() | faults.get(agent_id, frozenset()))


def is_open(closures: Closures, agent_id: AgentId) -> bool:
    """Say whether an agent as a whole takes new work."""
    return closures.get(agent_id, {}).keys().isdisjoint((WHOLE, LEAVING))


def ended(closures: Closures, members: Iterable[GangMember], now: datetime) -> Closure | None:
    """Return the first closure because of which a gang must stop by now, or None."""
    for member in members:
        here = closures.get(member.agent_id)
        if here:
            found = [here[slot] for slot in (WHOLE, LEAVING, *member.slots) if slot in here]
            due = [closure for closure in found if closure.ends_at is not None and closure.ends_at <= now]
            if due:
                return min(due, key=lambda closure: closure.seq)
    return None


def will_end(closures: Closures, members: Iterable[GangMember], now: datetime) -> bool:
    """Say whether a gang must stop later because of a closure that lets it go on now."""
    return any(
        closure.ends_at is not None and closure.ends_at > now
        for member in members
        for slot, closure in closures.get(member.agent_id, {}).items()
        if slot == WHOLE or slot in member.slots
    )
