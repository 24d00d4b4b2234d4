"""Watching over ranks that talk to us: when none of them steps, reports or says that it is alive, they have hung; and
when all have said bye, those that do not end linger.

Ranks that train together hang together: each waits in a collective operation for the one that does not come. So one
that is silent may just wait for another that takes its time, and they have hung when all are silent; then the stacks of
all are wanted. One that has said bye may work on for as long as another does, and then for the same time again; a
process that hangs in its very last lines (in the destructors of a library, in a thread that is not a daemon) would hold
its slot for ever. A rank that never said hello (a plain script without the SDK) is not watched, nor is one that has
ended. Of a gang over several agents, each watches over its own ranks.
"""

import asyncio
import time
from collections.abc import Callable


class Watch:
    """When each rank was last heard of."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._heard_at: dict[int, float] = {}
        self._parted: set[int] = set()
        self._ended: set[int] = set()
        self._quieter_at = 0.0  # when the last rank said bye or ended
        self._begun = asyncio.Event()

    @property
    def ranks(self) -> list[int]:
        """The ranks that have said hello, and neither said bye nor ended."""
        return sorted(self._heard_at)

    def heard(self, rank: int) -> None:
        """A rank has said something."""
        if rank not in self._parted | self._ended:  # what it said may be read when it has ended
            self._heard_at[rank] = self._clock()
            self._begun.set()

    def parted(self, rank: int) -> None:
        """A rank has said bye."""
        self._quieten(rank)
        self._parted |= {rank} - self._ended

    def ended(self, rank: int) -> None:
        """A rank's process has ended."""
        self._quieten(rank)
        self._ended.add(rank)
        self._parted.discard(rank)

    def excuse(self) -> None:
        """Begin anew for all: they had to wait for us."""
        for rank in self._heard_at:
            self.heard(rank)

    def overdue(self) -> list[int]:
        """Return all ranks if all have been silent for too long, else none."""
        return self.ranks if self._heard_at and self._clock() >= self._due_at() else []

    def lingering(self) -> list[int]:
        """Return the ranks that have said bye and not ended if none has anything else to say, for too long by now."""
        is_over = not self._heard_at and self._clock() >= self._due_at()
        return sorted(self._parted) if is_over else []

    async def wait(self) -> None:
        """Wait until some ranks are overdue or linger."""
        while not (self.overdue() or self.lingering()):
            if self._heard_at or self._parted:
                await asyncio.sleep(self._due_at() - self._clock())
            else:
                self._begun.clear()
                await self._begun.wait()

    def _quieten(self, rank: int) -> None:
        self._heard_at.pop(rank, None)
        self._quieter_at = self._clock()

    def _due_at(self) -> float:
        return max(self._heard_at.values(), default=self._quieter_at) + self.timeout_s


def verdict(overdue: list[int], timeout_s: float) -> str:
    """Return what is said of ranks that have hung."""
    return f"{_named(overdue)} hung: no step, no report and no heartbeat for {timeout_s:g} s (stall_timeout)"


def dismissal(lingering: list[int], timeout_s: float) -> str:
    """Return what is said of ranks that do not end."""
    when = f"within {timeout_s:g} s (stall_timeout) after the last bye"
    return f"{_named(lingering)} did not end {when}: killed; what was said before counts"


def _named(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
