"""The gateway under load beside a running search: mixed reads at a rate and as fast as they go, idle streams of events,
slow and broken clients. Generator, gateway, database, broker and the other services share the machine as it is.
"""

import asyncio
import contextlib
import json
import os
import random
import tempfile
import time
from pathlib import Path

import aiohttp
import click

from benchmarks.gateway import load
from benchmarks.gateway.hostile import hostile
from benchmarks.gateway.processes import cpu_s
from benchmarks.gateway.search import SLOTS, searching
from benchmarks.platform import Platform, platform
from benchmarks.report import Row
from trainmaster.cli.options import json_option

STREAMS = 1000
STREAM_READS_PER_S = 200.0
OPENED_AT_ONCE = 50
CONNECTIONS = 16
WARM_UP_S = 2.0
RANDOM = random.Random(1)


@click.command()
@click.option("--rate", default=2000.0, show_default=True, help="Requests a second.")
@click.option("--seconds", default=10.0, show_default=True, help="How long each part goes on.")
@json_option
def main(rate: float, seconds: float, *, as_json: bool) -> None:
    """Measure and print the table."""
    with platform("cpu:1", {"TM_GATEWAY_RATE": "1000000"}) as running, tempfile.TemporaryDirectory() as code:
        (Path(code) / "train.py").write_text("pass\n")
        rows = asyncio.run(_measure(running, Path(code), rate, seconds))
    if as_json:
        found = [{"what": row.what, "unit": row.unit, "value": row.median} for row in rows]
        print(json.dumps({"benchmark": "gateway", "rows": found}))
        return
    for row in rows:
        click.echo(f"{row.what:<64} {row.median:>10,.2f} {row.unit}")


async def _measure(running: Platform, code: Path, rate: float, seconds: float) -> list[Row]:
    async with searching(running, code) as ids:
        address = running.address
        requests = [load.request(address, path, running.token) for path in _mix(ids)]
        await load.run(address, requests, connections=CONNECTIONS, seconds=WARM_UP_S, per_s=rate)
        rows: list[Row] = []
        for what, per_s in ((f"mixed reads at {rate:,.0f}/s", rate), ("mixed reads, as fast as they go", None)):
            rows += await _loaded(running, what, requests, seconds, per_s)
        rows += await _streams(running, requests, seconds)
        rows += await hostile(running)
    return rows


def _mix(ids: list[str]) -> list[str]:
    """What a page of a team asks for: mostly the live experiment and its trials."""
    live, base = ids[0], "/api/v1"
    paths = [f"{base}/experiments?limit=20"] * 20 + [f"{base}/experiments/{live}"] * 25
    paths += [f"{base}/experiments/{live}/trials?limit=50"] * 20
    paths += [f"{base}/trials/{live}-{number % SLOTS + 1}" for number in range(15)]
    paths += [f"{base}/experiments/{one}" for one in ids[1:6]] + [f"{base}/agents"] * 5
    paths += [f"{base}/experiments/{live}/metrics?group=validation&name=loss"] * 10
    RANDOM.shuffle(paths)
    return paths


async def _loaded(
    running: Platform, what: str, requests: list[bytes], seconds: float, per_s: float | None
) -> list[Row]:
    """Measure reads, and what they cost the gateway and the generator, which is this process."""
    gateway, own = cpu_s("services.gateway", running.data), sum(os.times()[:2])
    found = await load.run(running.address, requests, connections=CONNECTIONS, seconds=seconds, per_s=per_s)
    gateway, own = cpu_s("services.gateway", running.data) - gateway, sum(os.times()[:2]) - own
    failed = sum(count for status, count in found.statuses.items() if status != 200)
    return [
        Row(what=f"{what}: answered", unit="/s", values=(found.per_s,)),
        Row(what=f"{what}: half below", unit="ms", values=(found.below_ms(0.5),)),
        Row(what=f"{what}: 99 % below", unit="ms", values=(found.below_ms(0.99),)),
        Row(what=f"{what}: not answered 200", unit="", values=(float(failed),)),
        Row(what=f"{what}: the gateway took", unit="cores", values=(gateway / found.seconds,)),
        Row(what=f"{what}: the generator took", unit="cores", values=(own / found.seconds,)),
    ]


async def _streams(running: Platform, requests: list[bytes], seconds: float) -> list[Row]:
    """Idle streams: of an event that does not happen, so nothing comes but the sign that somebody is there."""
    timeout, connector = aiohttp.ClientTimeout(total=None), aiohttp.TCPConnector(limit=0)
    async with contextlib.AsyncExitStack() as opened:
        session = await opened.enter_async_context(
            aiohttp.ClientSession(connector=connector, timeout=timeout, headers=running.headers)
        )
        url, began = f"{running.url}/api/v1/events/stream?name=ExperimentFailed", time.perf_counter()
        for _ in range(STREAMS // OPENED_AT_ONCE):
            asked = (session.get(url) for _ in range(OPENED_AT_ONCE))
            responses = await asyncio.gather(*(opened.enter_async_context(one) for one in asked))
            if any(response.status != 200 for response in responses):
                raise SystemExit("a stream was refused")
        took = time.perf_counter() - began
        what = f"{STREAM_READS_PER_S:g} reads/s beside {STREAMS} idle streams"
        rows = await _loaded(running, what, requests, seconds, STREAM_READS_PER_S)
    return [Row(what=f"{STREAMS} idle streams: opened in", unit="s", values=(took,)), *rows]
