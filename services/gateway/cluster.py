"""Questions about the cluster: agents, who holds their slots, who waits for them."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from services.gateway import cursor
from services.gateway.access.access import principal
from services.gateway.lists import IN_WORKSPACES
from services.gateway.past import ReadModel, consistent
from services.gateway.views.agents import Agent, AgentState, Availability, SlotView
from services.gateway.views.queue import QueueItem, QueueView
from shared.events import Role
from shared.queue import QueueQuestion, WaitingTrial

_AGENTS = """
SELECT a.*, s.number, s.kind, s.name, s.memory_bytes, w.state AS whole, w.ends_at AS whole_ends_at,
       c.state AS single, c.ends_at AS single_ends_at, f.fault, f.detail
FROM agents a LEFT JOIN slots s ON s.agent_id = a.id
LEFT JOIN closures w ON w.agent_id = a.id AND w.slot = -1
LEFT JOIN closures c ON c.agent_id = a.id AND c.slot = s.number
LEFT JOIN slot_faults f ON f.agent_id = a.id AND f.slot = s.number
ORDER BY a.id, s.number
"""
_HELD = "SELECT trial_id, members FROM allocations WHERE released_at IS NULL"
_WAITING = f"""
SELECT t.id, t.experiment_id, t.slots, e.pool_id, t.waiting_since, e.state = 'PAUSED' AS is_paused,
       CASE WHEN $4::text[] IS NULL OR {IN_WORKSPACES.format("$4")} THEN e.name ELSE '' END AS name
FROM trials t JOIN experiments e ON e.id = t.experiment_id
WHERE t.ended_at IS NULL AND t.state = 'WAITING' AND e.state IN ('ACTIVE', 'PAUSED')
  AND ($3::text IS NULL OR e.pool_id = $3)
  AND t.requested_seq > COALESCE((SELECT l.requested_seq FROM trials l WHERE l.id = $2), 0)
ORDER BY t.requested_seq LIMIT $1
"""


Seq = Annotated[int, Meta(ge=0, le=2**53)]


class _Member(msgspec.Struct):
    agent_id: str
    incarnation: str
    slots: list[int]


async def agents(database: ReadModel) -> list[Agent]:
    """Return every agent that ever joined, by name, with the trials on its slots."""
    async with consistent(database) as connection:
        rows = await connection.fetch(_AGENTS)
        held = {
            (member.agent_id, member.incarnation, number): row["trial_id"]
            for row in await connection.fetch(_HELD)
            for member in msgspec.json.decode(row["members"], type=list[_Member])
            for number in member.slots
        }
    found: dict[str, Agent] = {}
    for row in rows:
        agent = found.setdefault(
            row["id"],
            Agent(
                id=row["id"],
                incarnation=row["incarnation"],
                pool=row["pool_id"],
                address=row["address"],
                state=AgentState(row["state"]),
                joined_at=row["joined_at"],
                slots=[],
                availability=Availability(row["whole"] or "ENABLED"),
                ends_at=row["whole_ends_at"],
                labels=msgspec.json.decode(row["labels"], type=dict[str, str]),
                zero_slot_limit=row["zero_slot_limit"],
            ),
        )
        if row["number"] is not None:
            memory_bytes = None if row["memory_bytes"] is None else int(row["memory_bytes"])
            trial_id = held.get((agent.id, agent.incarnation, row["number"]))
            slot = SlotView(
                number=row["number"],
                kind=row["kind"],
                name=row["name"],
                memory_bytes=memory_bytes,
                trial_id=trial_id,
                availability=Availability(row["single"] or "ENABLED"),
                ends_at=row["single_ends_at"],
                unhealthy=None if row["fault"] is None else f"{row['fault']} ({row['detail']})",
            )
            agent.slots.append(slot)
    return list(found.values())


class QueuePlace(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of the queue ended: after so many trials, and after which."""

    after: Seq = 0
    trial_id: cursor.Text | None = None


def place_in_queue(after: int, items: Sequence[QueueItem] | Sequence[WaitingTrial]) -> str:
    """Return the cursor of what comes after a page."""
    return cursor.write(QueuePlace(after, items[-1].trial_id if items else None))


async def waiting(database: ReadModel, question: QueueQuestion, reason: str) -> QueueView:
    """Return the trials that wait for slots, in the order they were requested; why, only the scheduler can say, who is
    not asked: `reason` says so. Names of experiments in workspaces where who asks may not look are empty."""
    seen = principal.get().workspaces(Role.VIEWER)
    rows = await database.fetch(_WAITING, question.limit + 1, question.after_trial, question.pool_id, seen)
    items = [
        QueueItem(
            position=number,
            trial_id=row["id"],
            experiment_id=row["experiment_id"],
            experiment_name=row["name"],
            slots=row["slots"],
            pool=row["pool_id"],
            waiting_since=row["waiting_since"],
            reason="its experiment is paused" if row["is_paused"] else reason,
        )
        for number, row in enumerate(rows[: question.limit], start=question.after + 1)
    ]
    more = place_in_queue(question.after + len(items), items) if len(rows) > question.limit else None
    return QueueView(items=items, next_cursor=more)


def slot_kinds(known: Iterable[Agent], pool: str) -> set[str]:
    """Return what the slots of a pool's agents that are up are made of."""
    up = [agent for agent in known if agent.pool == pool and agent.state is AgentState.UP]
    return {slot.kind for agent in up for slot in agent.slots}
