"""Which agents and slots take no new work because an administrator said so.

Kept by the agent's name, for every incarnation of it, until it is enabled. An agent as a whole and each of its slots
are closed and opened independently; a slot takes work when neither is closed. The latest word about each counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.events import AgentDisabled, AgentDrainRequested, AgentEnabled, GangMember, PreemptionReason
from shared.ids import AgentId

WHOLE = -1  # in place of a slot's number


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """No new work. What runs there stops from `ends_at` on; None: it may go on."""

    reason: PreemptionReason
    seq: int
    ends_at: datetime | None


#: By agent, then by slot (or WHOLE).
Closures = dict[AgentId, dict[int, Closure]]


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


def closed_slots(closures: Closures, agent_id: AgentId, slots: frozenset[int]) -> frozenset[int]:
    """Return which of an agent's slots are closed one by one."""
    return slots & closures.get(agent_id, {}).keys()


def is_open(closures: Closures, agent_id: AgentId) -> bool:
    """Say whether an agent as a whole takes new work."""
    return WHOLE not in closures.get(agent_id, ())


def ended(closures: Closures, members: Iterable[GangMember], now: datetime) -> Closure | None:
    """Return the first closure because of which a gang must stop by now, or None."""
    for member in members:
        here = closures.get(member.agent_id)
        if here:
            found = [here[slot] for slot in (WHOLE, *member.slots) if slot in here]
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
