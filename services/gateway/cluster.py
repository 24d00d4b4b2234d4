"""Questions about the cluster: agents, who holds their slots, who waits for them."""

from collections.abc import Iterable

import msgspec

from services.gateway import queue, views
from services.gateway.decide import Pool
from services.gateway.queries import Database
from services.gateway.queue import Capacity, Waiting

_AGENTS = """
SELECT a.*, s.number, s.kind, s.name, s.memory_bytes FROM agents a LEFT JOIN slots s ON s.agent_id = a.id
ORDER BY a.id, s.number
"""
_HELD = "SELECT trial_id, members FROM allocations WHERE released_at IS NULL"
_WAITING = """
SELECT t.id, t.experiment_id, e.name, t.slots, t.pool_id, t.waiting_since, e.state = 'PAUSED' AS is_paused
FROM trials t JOIN experiments e ON e.id = t.experiment_id
WHERE t.ended_at IS NULL AND t.state = 'WAITING' AND e.state IN ('ACTIVE', 'PAUSED') ORDER BY t.requested_seq LIMIT $1
"""


class _Member(msgspec.Struct):
    agent_id: str
    incarnation: str
    slots: list[int]


async def agents(database: Database) -> list[views.Agent]:
    """Return every agent that ever joined, by name, with the trials on its slots."""
    async with database.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(_AGENTS)
        held = {
            (member.agent_id, member.incarnation, number): row["trial_id"]
            for row in await connection.fetch(_HELD)
            for member in msgspec.json.decode(row["members"], type=list[_Member])
            for number in member.slots
        }
    found: dict[str, views.Agent] = {}
    for row in rows:
        agent = found.setdefault(
            row["id"],
            views.Agent(
                id=row["id"],
                incarnation=row["incarnation"],
                pool=row["pool_id"],
                address=row["address"],
                state=views.AgentState(row["state"]),
                joined_at=row["joined_at"],
                slots=[],
            ),
        )
        if row["number"] is not None:
            memory_bytes = None if row["memory_bytes"] is None else int(row["memory_bytes"])
            trial_id = held.get((agent.id, agent.incarnation, row["number"]))
            slot = views.SlotView(
                number=row["number"], kind=row["kind"], name=row["name"], memory_bytes=memory_bytes, trial_id=trial_id
            )
            agent.slots.append(slot)
    return list(found.values())


async def waiting(database: Database, limit: int) -> views.QueueView:
    """Return the trials that wait for slots, in the order they will be served, and why."""
    rows = await database.fetch(_WAITING, limit)
    line = [Waiting(slots=row["slots"], pool=row["pool_id"], is_paused=row["is_paused"]) for row in rows]
    said = queue.reasons(line, capacities(await agents(database)))
    items = [
        views.QueueItem(
            position=number,
            trial_id=row["id"],
            experiment_id=row["experiment_id"],
            experiment_name=row["name"],
            slots=row["slots"],
            pool=row["pool_id"],
            waiting_since=row["waiting_since"],
            reason=reason,
        )
        for number, (row, reason) in enumerate(zip(rows, said, strict=True), start=1)
    ]
    return views.QueueView(items=items)


def capacities(known: Iterable[views.Agent]) -> dict[str, Capacity]:
    """Return what each pool has to give."""
    found: dict[str, Capacity] = {}
    for agent in known:
        if agent.state is views.AgentState.UP:
            so_far = found.get(agent.pool, queue.NOTHING)
            num_free = sum(slot.trial_id is None for slot in agent.slots)
            found[agent.pool] = Capacity(
                num_slots=so_far.num_slots + len(agent.slots), num_free=so_far.num_free + num_free
            )
    return found


def pools(known: list[views.Agent]) -> list[Pool]:
    """Return the pools that agents ever joined, with what is up now."""
    up = [agent for agent in known if agent.state is views.AgentState.UP]
    return [
        Pool(
            name=name,
            num_agents=sum(agent.pool == name for agent in up),
            num_slots=sum(len(agent.slots) for agent in up if agent.pool == name),
        )
        for name in sorted({agent.pool for agent in known})
    ]
