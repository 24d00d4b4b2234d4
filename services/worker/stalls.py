"""Watching over ranks that talk to us: one that neither steps, reports nor says that it is alive has hung.

Ranks that train together hang together: each waits in a collective operation for the one that does not come. So when
one is overdue the stacks of all are wanted. A rank that never said hello (a plain script without the SDK) is not
watched.
"""

import asyncio
import time
from collections.abc import Callable

DUMP_S = 2.0  # for the stacks to be written and read


class Watch:
    """When each rank was last heard of."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._heard_at: dict[int, float] = {}
        self._begun = asyncio.Event()

    @property
    def ranks(self) -> list[int]:
        """The ranks that have said hello."""
        return sorted(self._heard_at)

    def heard(self, rank: int) -> None:
        """A rank has said something."""
        self._heard_at[rank] = self._clock()
        self._begun.set()

    def excuse(self) -> None:
        """Begin anew for all: they had to wait for us."""
        for rank in self._heard_at:
            self.heard(rank)

    def overdue(self) -> list[int]:
        """Return the ranks that have been silent for too long."""
        now = self._clock()
        return [rank for rank in self.ranks if now - self._heard_at[rank] >= self.timeout_s]

    async def wait(self) -> list[int]:
        """Wait until a rank is overdue; return those that are."""
        await self._begun.wait()
        while True:
            if found := self.overdue():
                return found
            await asyncio.sleep(min(self._heard_at.values()) + self.timeout_s - self._clock())


def verdict(overdue: list[int], timeout_s: float) -> str:
    """Return what is said of ranks that have hung."""
    who = f"rank {overdue[0]}" if len(overdue) == 1 else f"ranks {', '.join(map(str, overdue))}"
    return f"{who} hung: no step, no report and no heartbeat for {timeout_s:g} s (stall_timeout)"
