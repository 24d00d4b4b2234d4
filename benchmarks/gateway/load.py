"""A load of HTTP requests over kept-open connections, made of as little Python as a request can be: the generator
shares the machine with what it measures.

At a rate, requests have their times beforehand, whatever the server does; a request's latency counts from its time, so
that a server that stalls does not make its own measurement better (coordinated omission).
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Measured:
    """What came back: each latency in ms, and how many answers of which status."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds

    def below_ms(self, part: float) -> float:
        """Return the latency that this part of all answers lies below."""
        return sorted(self.latencies_ms)[round(part * (len(self.latencies_ms) - 1))]


class Connection(asyncio.Protocol):
    """One connection with one request on its way at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._wanted = -1
        self._answered: asyncio.Future[int] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        """Send a request; the future is its answer's status, done when the body is here."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        self._buffer += data
        if self._wanted < 0:
            end = self._buffer.find(HEAD_END)
            if end < 0:
                return
            self._wanted = end + len(HEAD_END) + _length(self._buffer[:end])
        if len(self._buffer) >= self._wanted and self._answered is not None:
            status, self._buffer, self._wanted = int(self._buffer[9:12]), b"", -1
            self._answered.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so to whoever waits."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


async def run(
    address: tuple[str, int], requests: Sequence[bytes], *, connections: int, seconds: float, per_s: float | None
) -> Measured:
    """Ask for a while, in turn, at a rate or (None) as fast as answers come."""
    loop, measured = asyncio.get_running_loop(), Measured()
    opened = [(await loop.create_connection(Connection, *address))[1] for _ in range(connections)]
    began, turns = time.perf_counter(), itertools.cycle(requests)
    times: Iterator[float] = (
        (began + number / per_s for number in itertools.count()) if per_s else itertools.repeat(0.0)
    )

    async def ask_on(connection: Connection) -> None:
        while time.perf_counter() < began + seconds:
            at = next(times) or time.perf_counter()
            if (pause := at - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            status = await connection.ask(next(turns))
            measured.latencies_ms.append((time.perf_counter() - at) * 1000)
            measured.statuses[status] = measured.statuses.get(status, 0) + 1

    await asyncio.gather(*(ask_on(connection) for connection in opened))
    measured.seconds = time.perf_counter() - began
    for connection in opened:
        connection.close()
    return measured


def request(address: tuple[str, int], path: str, token: str) -> bytes:
    """Return a GET as it goes over the wire."""
    host, port = address
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"the answer has no length: {head[:200]!r}")
