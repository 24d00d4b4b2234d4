"""Server-sent events. A client that does not read is dropped; it comes back with the id of what it saw last."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus

from aiohttp import web

from services.gateway.access.access import STILL
from shared import broker
from shared.errors import Problem, Rejected, Unavailable

MAX_STREAMS = 2048
HEARTBEAT_S = 10.0
SLOW_S = 10.0  # how long one write may wait for the client
CHUNK_ITEMS = 200
RECONNECT_MS = 1000

STREAMS = web.AppKey("streams", set[asyncio.Task[object]])


class Gone(Exception):
    """The client closed the connection, or reads too slowly."""


class EventStream:
    """One client's open stream."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self.response = response
        self._written_s = time.monotonic()

    async def send(self, items: Iterable[tuple[int | None, bytes]]) -> None:
        """Send JSON documents, which hold no line break; an id says that all up to here is delivered. Raises Gone."""
        chunk: list[bytes] = []
        for number, (seq, data) in enumerate(items, start=1):
            place = b"" if seq is None else b"id: %d\n" % seq
            chunk.append(b"%bdata: %b\n\n" % (place, data))
            if number % CHUNK_ITEMS == 0:
                await self._write(b"".join(chunk))
                chunk = []
        if chunk:
            await self._write(b"".join(chunk))

    async def end(self) -> None:
        """Say that nothing more will come."""
        await self._write(b"event: end\ndata: {}\n\n")

    async def keep_alive(self) -> None:
        """Notice that the client left, and let proxies see some traffic; end it when who reads may not
        any more. Call it about every second. Raises Gone."""
        broker.raise_if_cancelled()
        if STILL in self._request and not self._request[STILL]():
            await self._write(b'event: end\ndata: {"reason": "access changed"}\n\n')
            raise Gone
        if self._request.transport is None or self._request.transport.is_closing():
            raise Gone
        if time.monotonic() - self._written_s >= HEARTBEAT_S:
            await self._write(b": still here\n\n")

    async def _write(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(SLOW_S):
                await self.response.write(body)
        except (TimeoutError, ConnectionError) as error:
            raise Gone from error
        self._written_s = time.monotonic()


@contextlib.asynccontextmanager
async def opened(request: web.Request) -> AsyncIterator[EventStream]:
    """Open the stream for as long as the context lasts. It ends early, silently, when the client is gone."""
    streams = request.app[STREAMS]
    if len(streams) >= MAX_STREAMS:
        raise Unavailable(f"{MAX_STREAMS} streams are open, which is the limit")
    task = asyncio.current_task()
    assert task is not None
    streams.add(task)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    stream = EventStream(request, web.StreamResponse(headers=headers))
    try:
        await stream.response.prepare(request)
        await stream.response.write(b"retry: %d\n\n" % RECONNECT_MS)
        yield stream
    except (Gone, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        streams.discard(task)


async def close_all(app: web.Application) -> None:
    """End every open stream; their clients come back to whoever serves next."""
    for task in app[STREAMS]:
        task.cancel()


def begin_after(request: web.Request, asked: int | None = None) -> int | None:
    """Return after which sequence a stream begins: where a client that comes back had got to, else what it asks for.

    Raises Rejected.
    """
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return asked
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        mistake = Problem("Last-Event-ID", f"{text[:100]!r} is no id of ours")
        raise Rejected("the request has a mistake", (mistake,), status=HTTPStatus.BAD_REQUEST)
    return int(text)
