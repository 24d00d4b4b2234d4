"""Agents, and what people change about them, the queue, pools and limits, as rows; see projection.py."""

from datetime import datetime, timedelta
from functools import singledispatch

import msgspec

from services.tracker import filing, occupancy, rows
from services.tracker.statement import At, Statement
from shared.events import (
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    AgentIntent,
    AgentJoined,
    AgentLeft,
    AgentLost,
    AgentRefused,
    DefaultPolicySet,
    Event,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
    LimitCleared,
    LimitEvent,
    LimitSet,
    PoolConfigured,
    PoolPolicy,
    SlotRecovered,
    SlotUnhealthy,
)


@singledispatch
def statements(event: Event, at: At) -> list[Statement]:
    """Return the writes that an event means; none for an event that no table shows."""
    return filing.statements(event, at)


_JOB_PRIORITY_SET = "UPDATE experiments SET priority = $2, seq = $3 WHERE id = $1"


@statements.register
def _job_priority_set(event: JobPrioritySet, at: At) -> list[Statement]:
    return [Statement(_JOB_PRIORITY_SET, (event.experiment_id, event.priority, at.seq), (event.experiment_id,))]


_JOB_WEIGHT_SET = "UPDATE experiments SET weight = $2, seq = $3 WHERE id = $1"


@statements.register
def _job_weight_set(event: JobWeightSet, at: At) -> list[Statement]:
    return [Statement(_JOB_WEIGHT_SET, (event.experiment_id, event.weight, at.seq), (event.experiment_id,))]


_JOB_MAX_SLOTS_SET = "UPDATE experiments SET max_slots = $2, seq = $3 WHERE id = $1"


@statements.register
def _job_max_slots_set(event: JobMaxSlotsSet, at: At) -> list[Statement]:
    return [Statement(_JOB_MAX_SLOTS_SET, (event.experiment_id, event.max_slots, at.seq), (event.experiment_id,))]


# Into the lane of the other, unless that one is over.
_JOB_MOVED = """
UPDATE experiments e SET priority = o.priority, seq = $3
FROM experiments o WHERE e.id = $1 AND o.id = $2 AND o.id <> e.id AND o.ended_at IS NULL
"""


@statements.register
def _job_moved(event: JobMoved, at: At) -> list[Statement]:
    keys = (event.experiment_id, event.beside_id)
    return [Statement(_JOB_MOVED, (event.experiment_id, event.beside_id, at.seq), keys)]


_JOB_POOL_SET = "UPDATE experiments SET pool_id = $2, seq = $3 WHERE id = $1"


@statements.register
def _job_pool_set(event: JobPoolSet, at: At) -> list[Statement]:
    return [Statement(_JOB_POOL_SET, (event.experiment_id, event.pool_id, at.seq), (event.experiment_id,))]


# A process under a name whose owner may be alive is not in, unless it follows on that one.
_AGENT_JOINED = """
INSERT INTO agents AS a (id, incarnation, pool_id, address, state, joined_at, seq, labels, zero_slot_limit)
VALUES ($1, $2, $3, $4, 'UP', $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE SET incarnation = $2, pool_id = $3, address = $4, state = 'UP', joined_at = $5, seq = $6,
                               labels = $7, zero_slot_limit = $8
WHERE a.state <> 'UP' OR $9::text IS NULL OR a.incarnation IN ($2, $9)
"""
# History keeps what is changed: what goes says first by which event it went.
_IS_IN = "EXISTS (SELECT FROM agents WHERE id = $1 AND seq = $2)"
_SLOTS_GO = f"UPDATE slots SET seq = $2 WHERE agent_id = $1 AND {_IS_IN}"
_SLOTS_GONE = f"DELETE FROM slots WHERE agent_id = $1 AND {_IS_IN}"
_SLOT_OFFERED = f"""
INSERT INTO slots (agent_id, seq, number, kind, name, device_uuid, memory_bytes)
SELECT $1, $2, $3, $4, $5, $6, $7 WHERE {_IS_IN}
ON CONFLICT (agent_id, number) DO NOTHING
"""


@statements.register
def _agent_joined(event: AgentJoined, at: At) -> list[Statement]:
    keys = (f"agent {event.agent_id}",)
    joined = (
        event.agent_id,
        event.incarnation,
        event.pool_id,
        rows.text(event.address),
        at.time,
        at.seq,
        rows.json(event.labels),
        event.zero_slot_limit,
        event.succeeds,
    )
    offered = [
        (
            event.agent_id,
            at.seq,
            slot.number,
            slot.kind.value,
            rows.text(slot.name),
            rows.text(slot.device_uuid),
            slot.memory_bytes,
        )
        for slot in event.slots
    ]
    return [
        *occupancy.offered(event, at),
        Statement(_AGENT_JOINED, joined, keys),
        Statement(_SLOTS_GO, (event.agent_id, at.seq), keys),
        Statement(_SLOTS_GONE, (event.agent_id, at.seq), keys),
        *(Statement(_SLOT_OFFERED, args, keys) for args in offered),
    ]


_AGENT_GONE = "UPDATE agents SET state = $3, seq = $4 WHERE id = $1 AND incarnation = $2"


def _agent_gone(agent_id: str, incarnation: str, state: str, at: At) -> Statement:
    return Statement(_AGENT_GONE, (agent_id, incarnation, state, at.seq), (f"agent {agent_id}",))


@statements.register
def _agent_left(event: AgentLeft, at: At) -> list[Statement]:
    return [
        _agent_gone(event.agent_id, event.incarnation, "LEFT", at),
        occupancy.gone(event.agent_id, event.incarnation, at),
    ]


@statements.register
def _agent_lost(event: AgentLost, at: At) -> list[Statement]:
    return [
        _agent_gone(event.agent_id, event.incarnation, "LOST", at),
        occupancy.gone(event.agent_id, event.incarnation, at),
    ]


@statements.register
def _agent_refused(event: AgentRefused, at: At) -> list[Statement]:
    """Of a rival nothing is shown; one that was in is gone."""
    return [
        _agent_gone(event.agent_id, event.incarnation, "LOST", at),
        occupancy.gone(event.agent_id, event.incarnation, at),
    ]


_CLOSED = """
INSERT INTO closures (agent_id, slot, state, since, ends_at, seq) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (agent_id, slot) DO UPDATE SET state = $3, since = $4, ends_at = $5, seq = $6
"""
WHOLE_AGENT = -1  # in place of a slot's number


def _closed(event: AgentIntent, state: str, ends_at: datetime | None, at: At) -> list[Statement]:
    keys = (f"agent {event.agent_id}",)
    slots = event.slots or (WHOLE_AGENT,)
    return [Statement(_CLOSED, (event.agent_id, slot, state, at.time, ends_at, at.seq), keys) for slot in slots]


@statements.register
def _agent_drain_requested(event: AgentDrainRequested, at: At) -> list[Statement]:
    ends_at = None if event.grace_s is None else at.time + timedelta(seconds=event.grace_s)
    return _closed(event, "DRAINING", ends_at, at)


@statements.register
def _agent_disabled(event: AgentDisabled, at: At) -> list[Statement]:
    return _closed(event, "DISABLED", None, at)


@statements.register
def _agent_enabled(event: AgentEnabled, at: At) -> list[Statement]:
    return [*_closed(event, "ENABLED", None, at), *(_healthy(event.agent_id, slot, at) for slot in event.slots)]


_UNHEALTHY = """
INSERT INTO slot_faults (agent_id, slot, fault, detail, since, seq) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (agent_id, slot) DO UPDATE SET fault = $3, detail = $4, since = $5, seq = $6
"""
_HEALTHY = "UPDATE slot_faults SET fault = NULL, detail = '', since = $3, seq = $4 WHERE agent_id = $1 AND slot = $2"


def _healthy(agent_id: str, slot: int, at: At) -> Statement:
    return Statement(_HEALTHY, (agent_id, slot, at.time, at.seq), (f"agent {agent_id}",))


@statements.register
def _slot_unhealthy(event: SlotUnhealthy, at: At) -> list[Statement]:
    args = (event.agent_id, event.slot, event.fault.value, rows.text(event.detail), at.time, at.seq)
    return [Statement(_UNHEALTHY, args, (f"agent {event.agent_id}",))]


@statements.register
def _slot_recovered(event: SlotRecovered, at: At) -> list[Statement]:
    return [_healthy(event.agent_id, event.slot, at)]


_POLICY_SET = """
INSERT INTO pool_policies (pool_id, policy, seq) VALUES ($1, $2, $3)
ON CONFLICT (pool_id) DO UPDATE SET policy = $2, seq = $3
"""


def _policy_set(pool_id: str, policy: PoolPolicy, at: At) -> list[Statement]:
    args = (pool_id, rows.json(msgspec.to_builtins(policy)), at.seq)
    return [Statement(_POLICY_SET, args, (f"policy {pool_id}",))]


@statements.register
def _pool_configured(event: PoolConfigured, at: At) -> list[Statement]:
    return _policy_set(event.pool_id, event.policy, at)


@statements.register
def _default_policy_set(event: DefaultPolicySet, at: At) -> list[Statement]:
    return _policy_set("", event.policy, at)


_LIMIT_SET = """
INSERT INTO limits (id, workspace, max_slots, best_priority, seq) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET max_slots = $3, best_priority = $4, seq = $5
"""


def _limit_set(event: LimitEvent, max_slots: int | None, best_priority: int | None, at: At) -> list[Statement]:
    args = (event.limit_id, rows.text(event.workspace), max_slots, best_priority, at.seq)
    return [Statement(_LIMIT_SET, args, (f"limit {event.limit_id}",))]


@statements.register
def _limit_was_set(event: LimitSet, at: At) -> list[Statement]:
    return _limit_set(event, event.max_slots, event.best_priority, at)


@statements.register
def _limit_cleared(event: LimitCleared, at: At) -> list[Statement]:
    return _limit_set(event, None, None, at)
