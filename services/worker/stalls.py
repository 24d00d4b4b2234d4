"""Watching over ranks that talk to us: when none of them steps, reports or says that it is alive, they have hung; and
when all have said bye, those that do not end linger.

Ranks that train together hang together: each waits in a collective operation for the one that does not come. So one
that is silent may just wait for another that takes its time, and they have hung when all are silent; then the stacks of
all are wanted. One that has said bye may work on for as long as another does, and then for the same time again; a
process that hangs in its very last lines (in the destructors of a library, in a thread that is not a daemon) would hold
its slot for ever. A rank that never said hello (a plain script without the SDK) is not watched, nor is one that has
ended. Of a gang over several agents, each watches over its own ranks. Until one of these has said more than hello they
may all wait, in torch's init_process_group, say, for ranks whose agent still downloads: so they have longer for that.
Who waits for us to deal with what it said is not silent: what it says next we have not read yet.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

START_TIMEOUT_S = 3600.0


class Watch:
    """When each rank was last heard of."""

    def __init__(
        self, timeout_s: float, *, start_timeout_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Until any rank has said more than hello, the limit is `start_timeout_s` if that is longer."""
        self.timeout_s = timeout_s
        self._start_timeout_s = max(timeout_s, start_timeout_s)
        self._clock = clock
        self._heard_at: dict[int, float] = {}
        self._parted: set[int] = set()
        self._ended: set[int] = set()
        self._quieter_at = 0.0  # when the last rank said bye or ended
        self._has_begun = False
        self._num_held_up = 0
        self._changed = asyncio.Event()

    @property
    def ranks(self) -> list[int]:
        """The ranks that have said hello, and neither said bye nor ended."""
        return sorted(self._heard_at)

    @property
    def limit_s(self) -> float:
        """For how long all ranks may be silent now."""
        return self.timeout_s if self._has_begun else self._start_timeout_s

    @property
    def are_held_up(self) -> bool:
        """Whether any rank waits for us to deal with what it said."""
        return self._num_held_up > 0

    def greeted(self, rank: int) -> None:
        """A rank has said hello."""
        if rank not in self._parted | self._ended:  # what it said may be read when it has ended
            if not self._heard_at:
                self._changed.set()
            self._heard_at[rank] = self._clock()

    def heard(self, rank: int) -> None:
        """A rank has said something more."""
        if not self._has_begun:
            self._has_begun = True
            self._changed.set()
        self.greeted(rank)

    @contextlib.contextmanager
    def holding_up(self) -> Iterator[None]:
        """A rank is held up for as long as the context lasts."""
        self._num_held_up += 1
        try:
            yield
        finally:
            self._num_held_up -= 1

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
            self.greeted(rank)

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
            is_watching = bool(self._heard_at or self._parted)
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._due_at() - self._clock() if is_watching else None):
                    await self._changed.wait()

    def _quieten(self, rank: int) -> None:
        self._heard_at.pop(rank, None)
        self._quieter_at = self._clock()

    def _due_at(self) -> float:
        return max(self._heard_at.values(), default=self._quieter_at) + self.limit_s


def verdict(overdue: list[int], limit_s: float, timeout_s: float) -> str:
    """Return what is said of ranks that have hung; the limit is longer than stall_timeout while a gang starts."""
    why = "stall_timeout" if limit_s == timeout_s else "the limit for a gang over several agents to start"
    return f"{_named(overdue)} hung: no step, no report and no heartbeat for {limit_s:g} s ({why})"


def dismissal(lingering: list[int], timeout_s: float) -> str:
    """Return what is said of ranks that do not end."""
    when = f"within {timeout_s:g} s (stall_timeout) after the last bye"
    return f"{_named(lingering)} did not end {when}: killed; what was said before counts"


def _named(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
