"""Ends connections that send their request's head too slowly, or never: each costs memory, and many all of it.

aiohttp by itself ends a connection that is silent between two requests; with one that has sent the beginning of a
request, or nothing at all, it is patient for ever.
"""

import asyncio
import time
from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

HEAD_S = 30.0  # to send the first request's head
IDLE_S = 300.0  # until the next one: longer than proxies keep a connection that they do not use
LOOK_S = 5.0

Connection = RequestHandler


class SlowClients:
    """Which connections wait for their client, and since when."""

    def __init__(self) -> None:
        self._busy: set[Connection] = set()
        self._served: set[Connection] = set()
        self._waiting: dict[Connection, float] = {}

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Leave a connection alone while its request is answered, however long that takes."""
        self._busy.add(request.protocol)
        self._waiting.pop(request.protocol, None)
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)
            self._served.add(request.protocol)

    def overdue(self, connections: Collection[Connection], now: float) -> list[Connection]:
        """Return the connections that have waited too long for a request; forget those that are gone."""
        idle = [connection for connection in connections if connection not in self._busy]
        self._waiting = {connection: self._waiting.get(connection, now) for connection in idle}
        self._served.intersection_update(connections)
        return [one for one in idle if now - self._waiting[one] > (IDLE_S if one in self._served else HEAD_S)]

    async def run(self, server: web.Server) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            for connection in self.overdue(server.connections, time.monotonic()):
                connection.force_close()
                if connection.transport is not None:
                    connection.transport.close()
