"""Clients that send slowly, too much, or nothing that is HTTP; then one that asks as it should."""

import asyncio
import time

import aiohttp
import click

from benchmarks.platform import Platform
from benchmarks.report import Row

SLOW = 200
TIMEOUT_S = 20.0
TOO_LARGE_BYTES = 10_000_000
GARBAGE = (b"\x16\x03\x01garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n")


async def hostile(running: Platform) -> list[Row]:
    """Measure a read beside requests that never end, and after what must be refused."""
    host, port = running.address
    slow = [await asyncio.open_connection(host, port) for _ in range(SLOW)]
    for _, writer in slow:
        writer.write(b"GET /api/v1/experiments HTTP/1.1\r\nHost: x")
    statuses = [await _status(host, port, said) for said in GARBAGE]
    async with aiohttp.ClientSession(headers=running.headers) as session:
        async with session.post(f"{running.url}/api/v1/workspaces", data=b"x" * TOO_LARGE_BYTES) as response:
            statuses.append(str(response.status))
        began = time.perf_counter()
        async with session.get(f"{running.url}/api/v1/experiments") as response:
            await response.read()
        took_ms = (time.perf_counter() - began) * 1000
    for _, writer in slow:
        writer.close()
    click.echo(f"garbage, a wrong version, a long line, a large body: {' '.join(statuses)}", err=True)
    return [Row(what=f"one read beside {SLOW} that never end their request", unit="ms", values=(took_ms,))]


async def _status(host: str, port: int, said: bytes) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(said)
        async with asyncio.timeout(TIMEOUT_S):
            return (await reader.read(12))[9:12].decode() or "closed"
    finally:
        writer.close()
