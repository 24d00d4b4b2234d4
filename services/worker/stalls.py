"""Watching over ranks that talk to us: when none of them steps, reports or says that it is alive, they have hung.

Ranks that train together hang together: each waits in a collective operation for the one that does not come. So one
that is silent may just wait for another that takes its time, and they have hung when all are silent; then the stacks of
all are wanted. A rank that never said hello (a plain script without the SDK) is not watched, nor is one that has said
bye or has ended. Of a gang over several agents, each watches over its own ranks.
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
        self._gone: set[int] = set()
        self._begun = asyncio.Event()

    @property
    def ranks(self) -> list[int]:
        """The ranks that have said hello, and neither said bye nor ended."""
        return sorted(self._heard_at)

    def heard(self, rank: int) -> None:
        """A rank has said something."""
        if rank not in self._gone:  # what it said may be read when it has ended
            self._heard_at[rank] = self._clock()
            self._begun.set()

    def gone(self, rank: int) -> None:
        """A rank has said bye, or has ended."""
        self._gone.add(rank)
        self._heard_at.pop(rank, None)

    def excuse(self) -> None:
        """Begin anew for all: they had to wait for us."""
        for rank in self._heard_at:
            self.heard(rank)

    def overdue(self) -> list[int]:
        """Return all ranks if all have been silent for too long, else none."""
        return self.ranks if self._heard_at and self._clock() >= self._due_at() else []

    async def wait(self) -> list[int]:
        """Wait until the ranks are overdue; return them."""
        while True:
            if found := self.overdue():
                return found
            if self._heard_at:
                await asyncio.sleep(self._due_at() - self._clock())
            else:
                self._begun.clear()
                await self._begun.wait()

    def _due_at(self) -> float:
        return max(self._heard_at.values()) + self.timeout_s


def verdict(overdue: list[int], timeout_s: float) -> str:
    """Return what is said of ranks that have hung."""
    who = f"rank {overdue[0]}" if len(overdue) == 1 else f"ranks {', '.join(map(str, overdue))}"
    return f"{who} hung: no step, no report and no heartbeat for {timeout_s:g} s (stall_timeout)"
