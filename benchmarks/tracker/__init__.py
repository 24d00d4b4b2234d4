"""Training metrics end to end: published on METRICS, committed in PostgreSQL by the real tracker, read over HTTP.

Beside them MLflow with batches of the same size, straight into the same PostgreSQL server and into SQLite. After the
measurement everything is delivered again while the tracker is killed (kill -9) and started anew: what is stored must
stay the same, or the benchmark fails.
"""

import asyncio
import tempfile
import time
from pathlib import Path

import asyncpg
import click
import msgspec

from benchmarks.report import Row, show
from benchmarks.tracker import mlflow_peer
from benchmarks.tracker.load import Message, Pipeline, messages
from benchmarks.tracker.servers import Servers, running
from shared import broker
from tests.support.eventually import eventually
from tests.tracker import story
from trainmaster.cli.options import json_option

RUNS = 3
READS = 15
TRIALS = range(1, 33)
NAMES = 10
STEPS = 3_000  # a run; times 32 trials and 10 names: 960,000 points
STEPS_PER_MESSAGE = 100  # times 10 names: 1,000 points, as in a batch of MLflow's
SHORT_TRIAL, LONG_TRIAL = 40, 41  # with one series each
SHORT, LONG = 10_000, 10_000_000
WINDOWS = (9_000_000, 1_000_000, 300_000, 100_000, 10_000)


@click.command()
@click.option("--long", is_flag=True, help="Also a series of 10,000,000 points: charts of it, its export.")
@click.option("--no-mlflow", is_flag=True, help="Not beside MLflow, which is installed on first need.")
@json_option
def main(*, long: bool, no_mlflow: bool, as_json: bool) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory(prefix="tm-bench-") as name, running(Path(name)) as servers:
        rows = asyncio.run(_measure(servers, is_long=long))
        if not no_mlflow:
            rows[1:1] = asyncio.run(mlflow_peer.rows(servers, Path(name)))
    show("training metrics, end to end into PostgreSQL", rows, as_json=as_json)


async def _measure(servers: Servers, *, is_long: bool) -> list[Row]:
    async with broker.connect(servers.nats.url, "bench") as client:
        await broker.create_streams(client)
        database = await asyncpg.connect(servers.database())
        try:
            trials = [story.requested(index) for index in (*TRIALS, SHORT_TRIAL, LONG_TRIAL)]
            seq = await story.tell(client, [story.submitted(), *trials])
            await eventually(lambda: _is_shown(database, seq), timeout_s=30)
            pipeline = await Pipeline.open(client, database)
            rows = [await _ingest(pipeline, servers), *await _short(pipeline, servers)]
            return [*rows, *await _long(pipeline, servers)] if is_long else rows
        finally:
            await database.close()


async def _ingest(pipeline: Pipeline, servers: Servers) -> Row:
    rates: list[float] = []
    everything: list[Message] = []
    for run in range(RUNS):
        told = messages(TRIALS, first_step=run * STEPS, num_steps=STEPS, num_names=NAMES, steps_each=STEPS_PER_MESSAGE)
        num_points = len(TRIALS) * NAMES * STEPS
        rates.append(num_points / await pipeline.time_s(told))
        everything += told
    await _check_idempotency(pipeline, servers, everything)
    return Row(what="published → committed, ours", unit="points/s", values=tuple(rates))


async def _check_idempotency(pipeline: Pipeline, servers: Servers, told: list[Message]) -> None:
    before = await pipeline.stored()
    half = len(told) // 2
    await pipeline.publish(told[:half])
    await asyncio.to_thread(servers.tracker.kill)
    await asyncio.to_thread(servers.tracker.start)
    await pipeline.committed(await pipeline.publish(told[half:]))
    after = await pipeline.stored()
    expected = (len(TRIALS) * NAMES, len(TRIALS) * NAMES * STEPS * RUNS)
    if not before == after == expected:
        raise SystemExit(f"expected (series, points) {expected}; stored {before}, after delivering all again {after}")
    click.echo(
        f"delivered again, the tracker killed in the middle: {after[0]} series, {after[1]:,} points, as before",
        err=True,
    )


async def _short(pipeline: Pipeline, servers: Servers) -> list[Row]:
    await pipeline.time_s(messages([SHORT_TRIAL], first_step=0, num_steps=SHORT, num_names=1, steps_each=100))
    return [
        _read(servers, f"read {SHORT:,} of {SHORT:,} points over HTTP", SHORT_TRIAL, SHORT, max_points=SHORT),
        _read(servers, f"chart of {SHORT:,} points, at most 1,000", SHORT_TRIAL, 900, max_points=1_000),
    ]


async def _long(pipeline: Pipeline, servers: Servers) -> list[Row]:
    lasted_s = []
    for first_step in range(0, LONG, LONG // 10):
        told = messages([LONG_TRIAL], first_step=first_step, num_steps=LONG // 10, num_names=1, steps_each=1_000)
        lasted_s.append(await pipeline.time_s(told))
    rates = tuple(LONG / 10 / one for one in lasted_s)
    charts = [
        _read(servers, f"chart of {LONG:,} points, at most {most:,}", LONG_TRIAL, most * 4 // 5, max_points=most)
        for most in (1_000, 10_000)
    ]
    windows = [
        _read(servers, f"chart of {width:,} of them, at most 1,000", LONG_TRIAL, 800, from_step=512_345,
              to_step=512_344 + width, max_points=1_000)
        for width in WINDOWS
    ]  # fmt: skip
    exports = [await asyncio.to_thread(_export, servers, form) for form in ("csv", "parquet")]
    return [
        Row(what="one series of 10,000,000 points, ours", unit="points/s", values=rates),
        *charts,
        *windows,
        *exports,
    ]


def _read(servers: Servers, what: str, index: int, at_least: int, **query: int) -> Row:
    """Read a series over HTTP, its answer decoded."""
    lasted_ms = []
    with servers.api() as api:
        for _ in range(READS):
            began = time.perf_counter()
            answer = api.get(f"/trials/{story.trial(index)}/metrics", params=query)
            (series,) = msgspec.json.decode(answer.raise_for_status().content)["series"]
            lasted_ms.append((time.perf_counter() - began) * 1e3)
            if not at_least <= len(series["points"]) <= query["max_points"]:
                raise SystemExit(f"{what}: {len(series['points'])} points came")
    return Row(what=what, unit="ms", values=tuple(lasted_ms))


def _export(servers: Servers, form: str) -> Row:
    """Read a whole series as a file."""
    before = servers.gateway_peak_bytes()
    began = time.perf_counter()
    with (
        servers.api() as api,
        api.stream("GET", f"/trials/{story.trial(LONG_TRIAL)}/metrics/export", params={"format": form}) as answer,
    ):
        num_bytes = sum(len(chunk) for chunk in answer.raise_for_status().iter_bytes())
    rate = LONG / (time.perf_counter() - began)
    grown = servers.gateway_peak_bytes() - before
    what = f"export of {LONG:,} points as {form} ({num_bytes / 1e6:,.0f} MB; the gateway grew by {grown / 1e6:.0f} MB)"
    return Row(what=what, unit="points/s", values=(rate,))


async def _is_shown(database: "asyncpg.Connection[asyncpg.Record]", seq: int) -> bool:
    try:
        position = await database.fetchval("SELECT position FROM projections WHERE name = 'events'")
    except asyncpg.UndefinedTableError:
        return False
    return isinstance(position, int) and position >= seq
