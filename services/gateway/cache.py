"""Answers that are still true: kept until the read model moves, so that many who ask the same cost one question.

An answer is kept with the version of the read model that was known before it was asked for, and given out only while
that is the newest known: nobody sees less than `TM-Seq` says, or than what they were told is done. Those who ask while
an answer is on its way wait for it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

MAX_ANSWERS = 2_000
MAX_BODY_BYTES = 256 * 1024
MAX_BYTES = 64 * 1024 * 1024

Key: TypeAlias = tuple[str, frozenset[str] | None]  # what is asked, and of which workspaces it tells


class Encoded(NamedTuple):
    """An answer as it is sent: its body, its tag, and the event that it shows."""

    body: bytes
    tag: str
    shown: int


class Failed(Exception):
    """Whoever asked got no answer; the next one asks again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    answer: "asyncio.Future[Encoded]"

    @property
    def size_bytes(self) -> int:
        """How large the answer is; 0 while it is on its way."""
        return len(self.answer.result().body) if self.answer.done() and not self.answer.exception() else 0


@dataclass(slots=True)
class Cache:
    """The answers, the one used longest ago first."""

    entries: OrderedDict[Key, _Entry] = field(default_factory=OrderedDict)
    size_bytes: int = 0

    async def answer(self, version: int | None, key: Key, ask: Callable[[], Awaitable[Encoded]]) -> Encoded:
        """Return the answer at a version of the read model; None if that is not known: then nothing is kept."""
        if version is None:
            return await ask()
        entry = self.entries.get(key)
        while entry is not None and entry.version == version:
            try:
                found = await asyncio.shield(entry.answer)
            except Failed:
                entry = self.entries.get(key)
                continue
            if key in self.entries:
                self.entries.move_to_end(key)
            return found
        return await self._ask(version, key, ask)

    async def _ask(self, version: int, key: Key, ask: Callable[[], Awaitable[Encoded]]) -> Encoded:
        self._forget(key)
        entry = _Entry(version, asyncio.get_running_loop().create_future())
        self.entries[key] = entry
        try:
            found = await ask()
        except BaseException:
            if self.entries.get(key) is entry:
                del self.entries[key]
            entry.answer.set_exception(Failed())
            entry.answer.exception()  # perhaps nobody waits for it
            raise
        entry.answer.set_result(found)
        if self.entries.get(key) is entry:
            self.size_bytes += len(found.body)
            if len(found.body) > MAX_BODY_BYTES:
                self._forget(key)
        while self.size_bytes > MAX_BYTES or len(self.entries) > MAX_ANSWERS:
            self._forget(next(iter(self.entries)))
        return found

    def _forget(self, key: Key) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry.size_bytes
