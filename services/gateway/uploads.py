"""How many uploads are taken at a time: so many of all, fewer of one user, and so many more may wait."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import Unavailable
from shared.ids import UserId

MAX_WAITING = 64


class Uploads:
    """Places for uploads: `most` of all, `each` of one user, so that slow ones of theirs leave some for others."""

    def __init__(self, *, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._under_way: Counter[UserId] = Counter()
        self._num_waiting = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def place(self, user_id: UserId) -> AsyncIterator[None]:
        """Hold a place as soon as there is one. Raises Unavailable when too many wait."""
        if self._num_waiting >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} uploads wait already; try again in a moment")
        self._num_waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_room(user_id))
                self._under_way[user_id] += 1
        finally:
            self._num_waiting -= 1
        try:
            yield
        finally:
            self._under_way -= Counter({user_id: 1})  # forgets who has none
            async with self._changed:
                self._changed.notify_all()

    def _has_room(self, user_id: UserId) -> bool:
        return self._under_way.total() < self._most and self._under_way[user_id] < self._each
