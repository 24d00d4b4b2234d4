"""Shows the process' instruments over HTTP at /metrics, in OpenMetrics or in Prometheus' older text, as asked for.

A service without an HTTP server of its own needs no framework for one page: this reads one request a connection, of
bounded size and within a bounded time, and answers it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version

import nats.errors
from nats.aio.client import Client
from prometheus_client.exposition import choose_encoder

from shared import instruments, settings
from shared.settings import Address

MAX_HEAD_BYTES = 8 * 1024
MAX_CONNECTIONS = 16
REQUEST_TIMEOUT_S = 5.0
HEAD_TIMEOUT_S = 1.0  # for the broker to say how long a stream is
RETRY_S = 5.0

#: By stream, how far this process has folded it.
Positions = Mapping[str, Callable[[], int]]

_log = logging.getLogger(__name__)


class Exposition:
    """What one process shows. `observe` sets the gauges that are read when somebody asks."""

    def __init__(
        self, client: Client, service: str, positions: Positions, observe: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self._positions = positions
        self._observe = observe
        self._num_connections = 0
        instruments.BUILD.info({"service": service, "version": _version()})

    async def run(self) -> None:
        """Serve at TM_METRICS_HOST and TM_METRICS_PORT for ever; without a port, show nothing.

        A port that is taken is tried again: a service does not end for want of somebody to watch it.
        """
        address = settings.metrics_address()
        if address is None:
            return
        while True:
            try:
                await self._serve(address)
            except OSError as error:
                _log.warning("cannot show metrics", extra={"address": address, "error": str(error)})
                await asyncio.sleep(RETRY_S)

    async def _serve(self, address: Address) -> None:
        server = await asyncio.start_server(self._answer, address.host, address.port, limit=MAX_HEAD_BYTES)
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._num_connections += 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                if self._num_connections <= MAX_CONNECTIONS:
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self.respond(head.decode("latin-1")))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # who does not ask gets no answer
        finally:
            self._num_connections -= 1
            writer.close()

    async def respond(self, head: str) -> bytes:
        """Return the answer to the head of a request."""
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.split(" ")[0].split("?")[0]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n")
        if path == "/healthz":
            return _response(HTTPStatus.OK, b"up\n")
        if path != "/metrics":
            return _response(HTTPStatus.NOT_FOUND, b"see /metrics\n")
        encode, media_type = choose_encoder(headers.get("accept", ""))
        await self._look()
        return _response(HTTPStatus.OK, encode(instruments.REGISTRY), media_type)

    async def _look(self) -> None:
        """Bring the gauges up to date. While the broker is silent, heads and lags are those of before."""
        instruments.CONNECTED.set(self._client.is_connected)
        instruments.RECONNECTS.set(self._client.stats["reconnects"])
        self._observe()
        for stream, position in self._positions.items():
            instruments.POSITION.labels(stream).set(position())
            try:
                async with asyncio.timeout(HEAD_TIMEOUT_S):
                    info = await self._client.jetstream().stream_info(stream)
            except (nats.errors.Error, OSError) as error:
                _log.warning("the head is not known", extra={"stream": stream, "error": repr(error)})
                continue
            instruments.HEAD.labels(stream).set(info.state.last_seq)
            instruments.LAG.labels(stream).set(max(0, info.state.last_seq - position()))


def _response(status: HTTPStatus, body: bytes, media_type: str = "text/plain; charset=utf-8") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body


def _version() -> str:
    try:
        return version("trainmaster")
    except PackageNotFoundError:  # in an image, which holds the code without its package
        return "unpackaged"
