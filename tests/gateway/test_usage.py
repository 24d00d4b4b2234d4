"""Slot-seconds and occupancy: SQL over what the tracker folded, beside a count by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.gateway import usage
from services.gateway.past import Database
from services.gateway.usage import By
from services.tracker.migrate import migrate
from services.tracker.projection import statements
from services.tracker.statement import At, in_waves
from shared import postgres
from shared.events import AgentLost, Event
from shared.ids import PoolId
from tests.gateway.conftest import Api
from tests.gateway.test_access import as_, make_user
from tests.tracker import story

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(minute: int, seq: int, actor: str = "ada") -> At:
    return At(seq, NOON + timedelta(minutes=minute), actor)


LOST = AgentLost(pool_id=PoolId("default"), agent_id=story.AGENT, incarnation=story.INCARNATION, silent_s=30.0)
#: Trial 1 holds one slot from 10 to 40; trial 2 two from 20 on; the agent has two slots from 0 to 50.
TOLD: list[tuple[int, Event]] = [
    (0, story.agent_joined(2)),
    (5, story.submitted()),
    (5, story.requested(1)),
    (5, story.requested(2, slots=2)),
    (10, story.allocated(1)),
    (20, story.allocated(2, slots=(0, 1))),
    (40, story.released(1)),
    (50, LOST),
]


@pytest.fixture
async def database(postgres_url: str) -> Any:
    """The read model after what is told."""
    connection = await asyncpg.connect(postgres_url)
    await migrate(connection)
    batch = [one for seq, (minute, event) in enumerate(TOLD, 1) for one in statements(event, at(minute, seq))]
    for sql, rows in in_waves(batch):
        await connection.executemany(sql, rows)
    await connection.close()
    async with postgres.pool(postgres_url, max_size=2) as pool:
        yield pool


async def hours(database: Database, since: int, until: int, by: By = "user") -> dict[str, float]:
    begin, end = NOON + timedelta(minutes=since), NOON + timedelta(minutes=until)
    found = await usage.used(database, begin, end, by, None)
    return {item.name or item.workspace: item.slot_s / 60 for item in found.items}


async def test_slot_time_is_what_lies_within_the_time_asked_for(database: Database) -> None:
    assert await hours(database, 0, 60) == {"ada": 30 + 2 * 40}
    assert await hours(database, 30, 35) == {"ada": 5 + 2 * 5}
    assert await hours(database, 45, 60) == {"ada": 2 * 15}
    assert await hours(database, 0, 10) == {}
    assert await hours(database, 0, 60, "experiment") == {"digits": 110}
    assert await hours(database, 0, 60, "pool") == {"default": 110}


async def test_occupancy_is_the_mean_of_each_stretch(database: Database) -> None:
    found = await usage.filled(database, NOON, NOON + timedelta(minutes=60), 6)
    (pool,) = found.pools
    assert found.stretch_s == 600 and pool.pool == "default"
    assert pool.held == [0, 1, 3, 3, 2, 2] and pool.slots == [2, 2, 2, 2, 2, 0]


async def test_use_is_seen_where_one_may_look(api: Api) -> None:
    told = [story.agent_joined(), story.submitted(), story.requested(1), story.allocated(1)]
    seq = await story.tell(api.log, told)
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    found = await api.get("/api/v1/usage", by="workspace")
    assert found["items"][0]["slot_s"] > 0 and found["items"][0]["num_trials"] == 1
    shown = await api.get("/api/v1/usage/occupancy", stretches=1, since=found["until"])
    assert shown["pools"][0]["held"] == [1] and shown["pools"][0]["slots"] == [2]
    await api.get("/api/v1/usage", status=400, since="2026-01-01T00:00:00Z", until="2025-01-01T00:00:00Z")
    outsider = await make_user(api, "outsider", "viewer", "speech")
    async with as_(outsider) as http, http.get(f"{api.url}/api/v1/usage") as response:
        assert (await response.json())["items"] == []
