"""Questions about the past on a long log: how long they take, how large history is, and what it costs the projection.

Fills a real log (events of a made-up cluster, published in atomic batches straight to the broker), has the tracker's
projection fold it into a real PostgreSQL, and asks the gateway's API over HTTP.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import asyncpg
import click
from aiohttp import web
from nats.aio.client import Client
from rich.console import Console
from rich.table import Table

from benchmarks.report import Row
from benchmarks.time_travel import folding, life, reading
from services.gateway import past
from services.gateway.access.access import Access
from services.gateway.api import Parts
from services.gateway.app import make_app
from services.gateway.position import Position
from services.gateway.pulse import Pulse
from services.gateway.webhooks.sender import Webhooks
from services.tracker.fold_events import EventFold
from services.tracker.service import Projection
from shared import broker, codec, postgres, subjects
from shared.codec import Envelope
from shared.log import Message, envelope_of
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.support.servers import PASSWORD, NatsServer, RunningServer, new_nats_server
from trainmaster.cli.options import json_option
from trainmaster.embedded import postgres as embedded
from trainmaster.embedded.program import free_port

BATCH = 1_000  # the broker takes no more in one atomic batch
SAMPLE = 40_000  # events, to compare folding with history and without
UNUSED_S3 = S3Settings(endpoint="127.0.0.1:9", access_key="", secret_key="", bucket="unused", region="us-east-1")


@click.command()
@click.option("--events", default=1_000_000, show_default=True, help="How many events the log has.")
@json_option
def main(events: int, *, as_json: bool) -> None:
    """Measure and print the table."""
    with (
        tempfile.TemporaryDirectory(prefix="tm-bench-") as directory,
        _servers(Path(directory)) as (nats, postgres_url),
    ):
        rows = asyncio.run(_measure(nats.url, postgres_url, events))
    _show(f"questions about the past, on a log of {events:,} events", rows, as_json=as_json)


@contextlib.contextmanager
def _servers(directory: Path) -> Iterator[tuple[NatsServer, str]]:
    port = free_port()
    database = RunningServer(
        embedded.postgres_program(directory / "postgres", port, PASSWORD), directory / "postgres.log"
    )
    nats = new_nats_server(directory / "nats")
    nats.server.start()
    database.start()
    try:
        yield nats, embedded.postgres_url(port, PASSWORD)
    finally:
        database.stop()
        nats.server.stop()


async def _measure(nats_url: str, postgres_url: str, events: int) -> list[Row]:
    rows = await folding.measure(postgres_url, [_message(*pair) for pair in enumerate(_envelopes(SAMPLE), start=1)])
    database = await asyncpg.connect(postgres_url)
    await database.execute("SELECT history.clear(); TRUNCATE trial_events, events_of")
    async with broker.connect(nats_url, "bench") as client:
        await broker.create_streams(client)
        began = datetime.now(UTC)
        await _publish(client, _envelopes(events))
        ended = datetime.now(UTC)
        rows.append(await _projected(client, postgres_url, database, events))
        await database.execute("VACUUM ANALYZE")
        rows += await _sizes(database)
        async with _gateway(client, postgres_url) as http:
            rows += await reading.measure(http, events, began, ended)
    await database.close()
    return rows


def _envelopes(count: int) -> Iterator[Envelope]:
    for event in itertools.islice(life.events(), count):
        writer = event.rightful_writer
        yield envelope_of(event, writer=writer, actor=writer, correlation=getattr(event, "experiment_id", "-"))


def _message(seq: int, envelope: Envelope) -> Message:
    return Message(seq=seq, subject=str(envelope.subject), body=codec.encode(envelope), stored_ns=0)


async def _publish(client: Client, envelopes: Iterable[Envelope]) -> None:
    waiting = iter(envelopes)
    while batch := list(itertools.islice(waiting, BATCH)):
        batch_id = uuid.uuid4().hex
        for number, envelope in enumerate(batch, start=1):
            headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
            subject, body = str(envelope.subject), codec.encode(envelope)
            if number < len(batch):
                await client.publish(subject, body, headers=headers)
            else:
                reply = await client.request(subject, body, headers=headers | {"Nats-Batch-Commit": "1"}, timeout=30)
                assert "error" not in json.loads(reply.data), reply.data


async def _projected(
    client: Client, postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]", events: int
) -> Row:
    """Let the tracker's projection fold the whole log, and return how fast it did."""
    projection = Projection(client, postgres_url, name="events", stream=subjects.EVENTS, fold=EventFold())
    done = asyncio.Event()
    heard = f"events {events}"
    await database.add_listener("projection", lambda *told: done.set() if told[-1] == heard else None)
    started = time.perf_counter()
    running = asyncio.create_task(projection.run())
    await done.wait()
    took_s = time.perf_counter() - started
    running.cancel()
    assert projection.num_set_aside == 0, "every event is used"
    return Row(what="the tracker folds the whole log", unit="events/s", values=(events / took_s,))


async def _sizes(database: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
    sizes = await database.fetch(
        "SELECT schemaname AS schema, sum(pg_total_relation_size(relid)) / 1e6 AS mb FROM pg_stat_user_tables"
        " WHERE schemaname IN ('public', 'history') GROUP BY 1"
    )
    found = {row["schema"]: float(row["mb"]) for row in sizes}
    versions = await database.fetchval("SELECT count(*) FROM history.trials")
    assert versions, "history is kept"
    return [
        Row(what="tables as they are now", unit="MB", values=(found["public"],)),
        Row(what="their history", unit="MB", values=(found["history"],)),
        Row(what="versions of trials in it", unit="rows", values=(versions,)),
    ]


@contextlib.asynccontextmanager
async def _gateway(client: Client, postgres_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        postgres.pool(postgres_url, max_size=2) as database,
        postgres.pool(postgres_url, min_size=0, max_size=2, settings=past.SESSION) as before,
    ):
        position, store, token = Position(), ObjectStore(UNUSED_S3), secrets.token_hex()
        known = Access(client, token)
        hearing = asyncio.create_task(position.run(postgres_url))
        parts = Parts(
            client=client, database=database, past=before, store=store, position=position, pulse=Pulse(), access=known,
            webhooks=Webhooks(client, known.secrets, ()), metrics=Position("metrics"),
        )  # fmt: skip
        runner, port = web.AppRunner(make_app(parts, "127.0.0.1"), access_log=None), free_port()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as http:
                yield http
        finally:
            hearing.cancel()
            await runner.cleanup()


def _show(title: str, rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        figures = [asdict(row) | {"median": row.median, "p95": _p95(row)} for row in rows]
        print(json.dumps({"benchmark": title, "rows": figures}))
        return
    table = Table("", "median", "95 % below", "highest", "runs", title=title)
    for row in rows:
        figures_ = (
            f"{value:,.{0 if value >= 100 else 1}f} {row.unit}" for value in (row.median, _p95(row), max(row.values))
        )
        table.add_row(row.what, *figures_, str(len(row.values)))
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _p95(row: Row) -> float:
    return sorted(row.values)[round(0.95 * (len(row.values) - 1))]
