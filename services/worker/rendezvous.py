"""Where the ranks of a gang meet: a store that the chief hosts, on a port that the kernel picks.

The chief's agent listens before anybody is told the port, and hands the socket to a process that serves the store; so
ranks never find nobody there. A connection to it is also the gang's lifeline: each other agent holds one, and when the
chief ends the gang, or its machine dies, the line breaks and they know.
"""

import asyncio
import signal
import socket

from services.worker.allocation import Rendezvous
from services.worker.parent import Parent, Process

#: A single rank meets nobody: it hosts its own store, on any port.
ANY_PORT = 0

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 5


class RendezvousHost:
    """The chief's side."""

    def __init__(self, address: str) -> None:
        """Listen. Raises OSError."""
        self._socket: socket.socket | None = socket.create_server((address, ANY_PORT))
        self._process: Process | None = None
        self.rendezvous = Rendezvous(address=address, port=self._socket.getsockname()[1])

    async def serve(self, parent: Parent) -> None:
        """Start the process that serves the store. Raises CannotSpawn."""
        assert self._socket is not None
        place = self.rendezvous
        self._process = await parent.open_store(place.address, place.port, self._socket.fileno())
        self._socket.close()
        self._socket = None

    def close(self) -> None:
        """End the store; the lines of the other agents break."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.signal(signal.SIGKILL)


async def wait_for_chief_to_end(place: Rendezvous) -> None:
    """Hold a line to the chief and return when it breaks."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(place.address, place.port)
    except (OSError, TimeoutError):
        return
    line: socket.socket = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    try:
        await reader.read(1)  # the store never speaks first
    except OSError:
        return
    finally:
        writer.close()
