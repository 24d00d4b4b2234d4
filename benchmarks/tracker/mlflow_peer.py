"""MLflow's batched rate, in its fastest configurations: its client talks to the database itself, no server between."""

from pathlib import Path

import asyncpg

from benchmarks import peers
from benchmarks.report import Row
from benchmarks.tracker.servers import Servers

BATCHES = 20
RUNS = 3

_SCRIPT = Path(__file__).with_name("mlflow_batches.py")


async def rows(servers: Servers, directory: Path) -> list[Row]:
    """Return how fast MLflow logs batches of 1,000 metrics."""
    connection = await asyncpg.connect(servers.database())
    await connection.execute("CREATE DATABASE mlflow")
    await connection.close()
    database = servers.database("mlflow").replace("postgresql://", "postgresql+psycopg2://")
    sqlite = f"sqlite:///{directory}/mlflow.db"
    for uri in (database, sqlite):
        peers.rate(_SCRIPT, uri, "1")  # makes the tables
    return [
        _row("MLflow, batches of 1,000 into the same PostgreSQL, one client", database, 1),
        _row("MLflow, the same, two clients at once", database, 2),
        _row("MLflow, batches of 1,000 into SQLite, one client", sqlite, 1),
    ]


def _row(what: str, uri: str, num_clients: int) -> Row:
    rates = tuple(peers.rate(_SCRIPT, uri, str(BATCHES), num_processes=num_clients) for _ in range(RUNS))
    return Row(what=what, unit="points/s", values=rates)
