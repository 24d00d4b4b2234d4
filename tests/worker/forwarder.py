"""A way to a server that can be cut, and opened again."""

import asyncio
import contextlib
from urllib.parse import urlsplit


class Forwarder:
    """A way to a server that can be cut."""

    def __init__(self, endpoint: str) -> None:
        self._url = urlsplit(endpoint)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> str:
        """Forward from now on; return from where."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Nobody listens any more, and all connections break."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError):
            while body := await reader.read(65536):
                writer.write(body)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)
