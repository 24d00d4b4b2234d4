"""Waiting longer after each failure, up to a bound, with jitter so that many waiters do not come back at once."""

import asyncio
import random

FIRST_S = 0.1
LONGEST_S = 3.0


class Backoff:
    """How long to wait before the next attempt."""

    def __init__(self, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._next_s = first_s
        self._longest_s = longest_s

    async def pause(self) -> None:
        """Wait; the next pause is twice as long, up to the bound."""
        await asyncio.sleep(self._next_s * random.uniform(0.5, 1.0))
        self._next_s = min(self._longest_s, self._next_s * 2)
