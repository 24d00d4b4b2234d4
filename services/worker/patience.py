"""Doing again what the object store could not do just now, for as long as it takes; and saying so."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.worker.backoff import Backoff
from shared.errors import Unavailable

SAY_AFTER_S = 60.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Patience:
    """What one piece of work has of it. `say` writes to the trial's log; it is used once for each long wait."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._waiting_since: float | None = None
        self._has_said = False

    async def until_available(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what the attempt returns, the first time that it does not raise Unavailable."""
        backoff = Backoff()
        while True:
            try:
                result = await attempt()
            except Unavailable as error:
                self._note_failure(error)
                await backoff.pause()
            else:
                self._note_success()
                return result

    def _note_failure(self, error: Unavailable) -> None:
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        waited_s = now - self._waiting_since
        _log.warning("object store unavailable, trying again", extra={"error": str(error), "waited_s": waited_s})
        if waited_s >= SAY_AFTER_S and not self._has_said:
            self._has_said = True
            self._say(f"waiting for the object store since {waited_s:.0f} s, and trying on: {error}")

    def _note_success(self) -> None:
        if self._has_said:
            self._say("the object store answers again")
        self._waiting_since, self._has_said = None, False
