"""Slots over time, as rows: who held them, and which agents offered them; see projection.py."""

from services.tracker.statement import At, Statement
from shared.events import AgentJoined, GPUAllocated, GPUReleased

_HELD = """
INSERT INTO occupancy (allocation_id, trial_id, experiment_id, pool_id, num_slots, from_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (allocation_id) DO NOTHING
"""
_FREED = "UPDATE occupancy SET to_at = $2 WHERE allocation_id = $1 AND to_at IS NULL"
# Of an agent that joins, its life before is over.
_OFFERED = """
INSERT INTO presence (agent_id, incarnation, pool_id, num_slots, from_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (agent_id, incarnation) DO NOTHING
"""
_GONE = """
UPDATE presence SET to_at = $3 WHERE agent_id = $1 AND to_at IS NULL AND from_at <= $3
                                 AND ($2::text IS NULL OR incarnation = $2)
"""


def held(event: GPUAllocated, at: At) -> Statement:
    """Return the write of slots that a trial holds from now on."""
    num_slots = sum(len(member.slots) for member in event.members)
    whose = (event.allocation_id, event.trial_id, event.experiment_id, event.pool_id)
    return Statement(_HELD, (*whose, num_slots, at.time), (event.trial_id,))


def freed(event: GPUReleased, at: At) -> Statement:
    """Return the write of slots that a trial holds no more."""
    return Statement(_FREED, (event.allocation_id, at.time), (event.trial_id,))


def offered(event: AgentJoined, at: At) -> list[Statement]:
    """Return the writes of an agent's slots that are there from now on."""
    whose = (event.agent_id, event.incarnation, event.pool_id)
    return [
        gone(event.agent_id, None, at),
        Statement(_OFFERED, (*whose, len(event.slots), at.time), (f"agent {event.agent_id}",)),
    ]


def gone(agent_id: str, incarnation: str | None, at: At) -> Statement:
    """Return the write of an agent whose slots are there no more; None: in whichever life."""
    return Statement(_GONE, (agent_id, incarnation, at.time), (f"agent {agent_id}",))
