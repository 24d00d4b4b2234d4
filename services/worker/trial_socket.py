"""The unix socket over which the ranks of one allocation talk to their agent.

Anything that is not our language ends the connection, and the trial's log says so. A connection is read only as fast
as what it says can be dealt with.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from services.worker.frames import Frame, FrameReader, Hello, Malformed

READ_BYTES = 64 * 1024
MAX_CONNECTIONS = 256
MAX_PATH_BYTES = 100  # the kernel allows 107
SILENCE_S = 2.0  # how long a connection may stay open and silent when its rank has ended

Handler = Callable[[int, Frame], Awaitable[None]]
Welcome = Callable[[int], dict[str, Any] | None]


@dataclass(slots=True, eq=False)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    task: asyncio.Task[None] | None = None
    rank: int | None = None
    is_silent: bool = True

    def send(self, frame: dict[str, Any]) -> None:
        """Queue a frame; the few small ones that we send need no flow control."""
        if not self.writer.is_closing():
            self.writer.write(msgpack.packb(frame))


class TrialSocket:
    """A socket server. `welcome` answers a hello (None: no rank of ours); `handle` gets what the ranks say."""

    def __init__(self, path: Path, *, welcome: Welcome, handle: Handler, complain: Callable[[str], None]) -> None:
        self.path = path
        self._welcome = welcome
        self._handle = handle
        self._complain = complain
        self._connections: set[_Connection] = set()
        self._stop: dict[str, Any] | None = None
        self.was_greeted = False
        """Whether any rank has ever said hello; it may have hung up since."""

    @contextlib.asynccontextmanager
    async def serve(self, tasks: asyncio.TaskGroup) -> AsyncIterator[None]:
        """Listen for as long as the context lasts, with a task in the group for each connection."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= MAX_CONNECTIONS:
                self._complain(f"more than {MAX_CONNECTIONS} connections to the trial socket; one was refused")
                writer.close()
                return
            connection = _Connection(reader, writer)
            self._connections.add(connection)
            connection.task = tasks.create_task(self._serve_one(connection), name=f"trial socket {self.path}")

        server = await asyncio.start_unix_server(accept, self.path)
        try:
            yield
        finally:
            server.close()
            self._close(self._connections)

    async def drained(self) -> None:
        """Wait until everything is dealt with that the ranks have sent; call it when they have ended."""
        while pending := [connection.task for connection in self._connections if connection.task]:
            _, still = await asyncio.wait(pending, timeout=SILENCE_S)
            if still:  # some process that the rank has left holds the other end
                self._close({connection for connection in self._connections if connection.is_silent})

    def stop(self, reason: str) -> None:
        """Tell every rank, also those that are yet to come, to stop."""
        self._stop = {"type": "stop", "reason": reason}
        self.broadcast(self._stop)

    def broadcast(self, frame: dict[str, Any]) -> None:
        """Send a frame to every rank that is connected."""
        for connection in self._connections:
            if connection.rank is not None:
                connection.send(frame)

    async def _serve_one(self, connection: _Connection) -> None:
        try:
            await self._converse(connection)
        except Malformed as error:
            self._complain(f"a connection to the trial socket was dropped: {error}")
        except ConnectionError:
            pass  # the rank died; its exit tells
        finally:
            self._connections.discard(connection)
            connection.writer.close()

    async def _converse(self, connection: _Connection) -> None:
        frames = FrameReader()
        while body := await connection.reader.read(READ_BYTES):
            connection.is_silent = False
            for frame in frames.feed(body):
                if connection.rank is None:
                    self._greet(connection, frame)
                elif isinstance(frame, Hello):
                    raise Malformed(f"rank {connection.rank} said hello twice")
                else:
                    await self._handle(connection.rank, frame)
            connection.is_silent = True

    def _greet(self, connection: _Connection, frame: Frame) -> None:
        if not isinstance(frame, Hello):
            raise Malformed("the first frame was not a hello")
        welcome = self._welcome(frame.rank)
        if welcome is None:
            raise Malformed(f"rank {frame.rank} is not on this agent")
        connection.rank, self.was_greeted = frame.rank, True
        connection.send(welcome)
        if self._stop:
            connection.send(self._stop)

    def _close(self, connections: set[_Connection]) -> None:
        for connection in list(connections):
            if connection.task:
                connection.task.cancel()


@contextlib.contextmanager
def socket_path(directory: Path) -> Iterator[Path]:
    """Yield where to listen: in the directory, or in a temporary one if the path would be too long for the kernel."""
    path = directory / "sock"
    if len(str(path).encode()) <= MAX_PATH_BYTES:
        yield path
        return
    short = tempfile.mkdtemp(prefix="tm-")
    try:
        yield Path(short) / "sock"
    finally:
        shutil.rmtree(short, ignore_errors=True)
