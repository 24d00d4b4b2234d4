"""What the gateway itself knows of its own events: one kind of things, folded and kept up with the log."""

import asyncio
import logging
from collections.abc import Callable

from nats.aio.client import Client

from shared import subjects
from shared.decisions import Fold
from shared.log import Follower, Recorded

_log = logging.getLogger(__name__)


class Followed:
    """Reads the gateway's events about an aggregate and has each folded by `evolve`."""

    def __init__(self, client: Client, aggregate: str, evolve: Callable[[Recorded], None]) -> None:
        filters = [subjects.event_filter(subjects.GATEWAY, aggregate)]
        self._aggregate = aggregate
        self._follower = Follower(client, subjects.EVENTS, filters=filters)
        self._fold = Fold(evolve)
        self._has_read = asyncio.Condition()

    @property
    def at_head(self) -> bool:
        """Whether all that the log says so far is folded."""
        return self._follower.at_head

    async def read(self) -> None:
        """Fold what comes next."""
        self._fold(await self._follower.next())
        async with self._has_read:
            self._has_read.notify_all()

    async def wait(self, seq: int, timeout_s: float = 2.0) -> None:
        """Return once this event is folded, or after `timeout_s`: then it is soon."""
        try:
            async with asyncio.timeout(timeout_s), self._has_read:
                await self._has_read.wait_for(lambda: self._fold.position >= seq)
        except TimeoutError:
            about = {"about": self._aggregate, "seq": seq, "position": self._fold.position}
            _log.warning("an event is late", extra=about)
