"""Empties the read model, so that the tracker folds it again from the log."""

import logging

import asyncpg

from services.tracker.migrate import migrate
from services.tracker.service import CHANNEL
from services.tracker.settings import Settings

# Training metrics stay: their stream is bounded, so the oldest of them are nowhere else. Folding those that it holds
# changes nothing, whatever is there already.
_EMPTY = """
SELECT history.clear();
TRUNCATE trial_events, events_of, set_aside, runs, logged_models, occupancy, presence;
DELETE FROM tracked_experiments WHERE id <> '0';
UPDATE tracked_experiments SET name = 'Default', deleted = false, tags = '{}', updated_at = created_at, seq = 0;
DELETE FROM metrics WHERE "group" = 'validation';
"""

# For folds, and for those who read several tables at one moment: what is emptied is gone from their snapshots, too.
_WAIT = "LOCK TABLE projections IN ACCESS EXCLUSIVE MODE"

_log = logging.getLogger(__name__)


async def rebuild(settings: Settings) -> None:
    """Drop what was folded, in one transaction. A running tracker notices and starts over."""
    connection = await asyncpg.connect(settings.postgres_url)
    try:
        await migrate(connection)
        async with connection.transaction():
            await connection.execute(_WAIT)
            await connection.execute("UPDATE projections SET position = 0")
            await connection.execute(_EMPTY)
            for name in ("events", "metrics"):
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{name} 0")
    finally:
        await connection.close()
    _log.info("read model emptied; the tracker folds it again from the log")
