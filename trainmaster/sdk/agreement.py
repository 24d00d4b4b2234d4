"""How the ranks of a trial agree on the step after which they stop, without talking to each other at every step.

All ranks must stop after the same step: each step holds collective operations, and a rank that runs one step more than
its peers waits for ever. But ranks run a little apart, and each hears "stop" at its own moment. So, on "stop":

1. Each rank publishes in the rendezvous store the last step that it has begun, and holds its loop before the next one.
2. When all have published, the highest of these steps is the last: somebody is inside it and needs all others there.
   Ranks that have not begun it run on up to it; then all stop.

A rank whose loop ends by itself (all steps done, or a break) publishes as well, in case the others are still to hear.
That says nothing about a loop that it may yet begin: what is published, and agreed, is about one loop, the first, the
second, … of the script. All ranks run the same loops, so where a loop has ended for one it ends for all; a stop that
was heard in it is agreed anew before the first step of the next.

Holding the loop is done by the main thread, publishing and gathering by another: a rank that sits in a collective
operation, waiting for a peer that holds, can still publish.
"""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Protocol, Self

AGREEMENT_TIMEOUT_S = 600.0


class Store(Protocol):
    """What is needed of torch.distributed.TCPStore."""

    def set(self, key: str, value: str, /) -> None:
        """Publish a value."""
        ...

    def get(self, key: str, /) -> bytes:
        """Wait for a value."""
        ...

    def add(self, key: str, amount: int, /) -> int:
        """Count, and return the new count."""
        ...

    def check(self, keys: list[str], /) -> bool:
        """Say whether all keys are set."""
        ...

    def wait(self, keys: list[str], timeout: timedelta, /) -> None:
        """Wait until all keys are set. Raises RuntimeError at the timeout."""
        ...

    def clone(self) -> Self:
        """Open another connection to the same store."""
        ...


class StopAgreement:
    """One rank's part in the agreement. A trial of a single rank just stops before its next step."""

    def __init__(self, *, rank: int, world_size: int, begun: int, store: Callable[[], Store]) -> None:
        """`begun` is the last step already trained; `store` returns the rendezvous store."""
        self._rank = rank
        self._world_size = world_size
        self._store = store
        self._changed = threading.Condition()
        self._begun = begun
        self._is_requested = False
        self._loop = 1
        self._published_loop = 0  # the newest for which our step is in the store, or on its way there
        self._last_step: int | None = None  # of this loop
        self._is_stopped = False

    def begin(self, step: int) -> bool:
        """Return whether `step` may be trained; waits for the agreement when a stop has been requested.

        Takes no lock at every step: we claim the step and then look whether a stop is requested, `request` says that
        one is and then reads what we claim. So either we see the request, or it counts the step that we begin. A step
        that was claimed and published is trained, because the last step is then this one or a later one.
        """
        before, self._begun = self._begun, step
        if not self._is_requested:
            return True
        with self._changed:
            if self._published_loop != self._loop:
                self._begun = before  # a new loop: nobody has read the claim
        self._agree()
        with self._changed:
            if not self._changed.wait_for(lambda: self._last_step is not None, AGREEMENT_TIMEOUT_S):
                raise TimeoutError(f"the ranks did not agree where to stop within {AGREEMENT_TIMEOUT_S:.0f} s")
            self._is_stopped = self._last_step is not None and step > self._last_step
            self._begun = before if self._is_stopped else step
            return not self._is_stopped

    def request(self) -> None:
        """Stop: publish where this rank is and learn where all are. Runs beside the loop; may be called twice."""
        with self._changed:
            self._is_requested = True
        self._agree()

    def leave(self) -> None:
        """Say that this rank's loop has ended by itself; ranks that still loop may be about to hear of a stop."""
        with self._changed:
            if self._is_stopped:  # there is no next loop
                return
            loop, begun, was_published = self._loop, self._begun, self._published_loop == self._loop
            self._loop, self._last_step = loop + 1, None
            was_requested = self._is_requested
        if self._world_size == 1:
            return
        if not was_published:
            self._store().set(_key(loop, self._rank), str(begun))
        if was_requested:  # others may hear only now, and wait for us in a loop that we do not begin
            self._store().set(_key(loop + 1, self._rank), str(begun))

    def _agree(self) -> None:
        """Publish where this rank is in its loop and learn the loop's last step, unless somebody does so already."""
        with self._changed:
            loop, begun = self._loop, self._begun
            if self._published_loop == loop:
                return
            self._published_loop = loop
        last_step = begun if self._world_size == 1 else self._gather(loop, begun)
        with self._changed:
            if self._loop == loop:  # else it has ended meanwhile
                self._last_step = last_step
                self._changed.notify_all()

    def _gather(self, loop: int, begun: int) -> int:
        store = self._store().clone()  # waiting on a connection keeps others from using it
        store.set(_key(loop, self._rank), str(begun))
        return max(int(store.get(_key(loop, rank))) for rank in range(self._world_size))


@cache
def rendezvous_store() -> Store:
    """Return this process's connection to the rendezvous store that MASTER_ADDR and MASTER_PORT name."""
    import torch.distributed as dist

    store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=AGREEMENT_TIMEOUT_S)))  # type: ignore[attr-defined]
    joined: Store = store
    return joined


def _key(loop: int, rank: int) -> str:
    return f"trainmaster/stop/{loop}/{rank}"
