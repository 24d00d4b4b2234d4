"""Schema migrations: numbered SQL files, forward only, each applied once."""

import logging
from pathlib import Path

import asyncpg

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_281_150_926  # any number that nobody else locks

_log = logging.getLogger(__name__)


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]", directory: Path = MIGRATIONS) -> None:
    """Apply the migrations that the database does not have yet, all or none; one process at a time."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        applied = {row["name"] for row in await connection.fetch("SELECT name FROM migrations")}
        new = [path for path in sorted(directory.glob("[0-9]*.sql")) if path.name not in applied]
        for path in new:
            await connection.execute(path.read_text())
            await connection.execute("INSERT INTO migrations (name) VALUES ($1)", path.name)
            _log.info("migration applied", extra={"migration": path.name})
        if new:
            await connection.execute("SELECT history.refresh()")  # the past is shown with the columns of the present
