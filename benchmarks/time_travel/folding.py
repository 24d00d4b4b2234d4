"""How fast the projection folds events into PostgreSQL, with history and without: its own code, fed from memory."""

import time
from collections.abc import Sequence

import asyncpg

from benchmarks.report import Row
from services.tracker.fold_events import EventFold
from services.tracker.migrate import migrate
from services.tracker.service import in_batches
from shared.log import Message

RUNS = 3
TABLES = ("experiments", "trials", "allocations", "agents", "slots", "checkpoints")


async def measure(url: str, messages: Sequence[Message]) -> list[Row]:
    """Fold the messages RUNS times each way, in turns."""
    rates: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}  # enabled it stays
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection)
        for _ in range(RUNS):
            for how, found in rates.items():
                await connection.execute("SELECT history.clear(); TRUNCATE trial_events, events_of")
                await connection.execute("".join(f"ALTER TABLE {name} {how} TRIGGER history;" for name in TABLES))
                found.append(len(messages) / await _fold(connection, messages))
    finally:
        await connection.close()
    return [
        Row(what="fold into tables, without history", unit="events/s", values=tuple(rates["DISABLE"])),
        Row(what="fold into tables, with history", unit="events/s", values=tuple(rates["ENABLE"])),
    ]


async def _fold(connection: "asyncpg.Connection[asyncpg.Record]", messages: Sequence[Message]) -> float:
    fold = EventFold()
    await fold.prepare(connection)
    started = time.perf_counter()
    for batch in in_batches(messages):
        async with connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit = off")
            assert not await fold.write(connection, batch), "every event is used"
    return time.perf_counter() - started
