"""How many requests that cost much are served at a time: so many of all, fewer of one user, and so many more wait."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from shared.errors import Rejected
from shared.ids import UserId

MAX_WAITING = 64
MAX_WAITING_EACH = 32  # of one user


class Turns:
    """Places for `what`: `most` of all, `each` of one user, so that slow ones of theirs leave some for others."""

    def __init__(self, what: str, *, most: int, each: int) -> None:
        self._what = what
        self._most = most
        self._each = each
        self._under_way: Counter[UserId] = Counter()
        self._waiting: Counter[UserId] = Counter()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def place(self, user_id: UserId) -> AsyncIterator[None]:
        """Hold a place as soon as there is one. Raises Rejected (503) when none is free and too many wait."""
        self._check_waiting(user_id)
        self._waiting[user_id] += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_room(user_id))
                self._under_way[user_id] += 1
        finally:
            self._waiting -= Counter({user_id: 1})  # forgets who has none
        try:
            yield
        finally:
            self._under_way -= Counter({user_id: 1})
            async with self._changed:
                self._changed.notify_all()

    def _check_waiting(self, user_id: UserId) -> None:
        if self._waiting[user_id] >= MAX_WAITING_EACH:
            raise self._refusal(f"{MAX_WAITING_EACH} {self._what} of yours wait already")
        if not self._has_room(user_id) and self._waiting.total() >= MAX_WAITING:
            raise self._refusal(f"{MAX_WAITING} {self._what} wait already")

    def _refusal(self, reason: str) -> Rejected:
        return Rejected(f"{reason}; try again in a moment", status=HTTPStatus.SERVICE_UNAVAILABLE)

    def _has_room(self, user_id: UserId) -> bool:
        return self._under_way.total() < self._most and self._under_way[user_id] < self._each
