"""How the ranks of a trial wait for one another outside of training: in the rendezvous store, however long it takes.

A collective operation would do, too, but gives up after torch's timeout, ten minutes with NCCL, and nobody who sits in
one can say that it is alive. What ranks wait for here can take hours: a store that is away, a large checkpoint that is
cut anew. Whoever works on it beats: it tells its agent that it is alive, and counts up in the store; on seeing that,
those who wait tell their agents the same. When nobody beats any more all fall silent, and stall_timeout ends the trial.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainmaster.sdk.agreement import Store

BEAT_S = 10.0  # at most: there are BEATS_PER_TIMEOUT in a stall_timeout
BEATS_PER_TIMEOUT = 4
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.1  # between two looks at the store
#: For storing a checkpoint, or converting one. Longer than that nobody beats.
WORK_TIMEOUT_S = 6 * 3600.0

_BEATS = "trainmaster/beats"


class Gathering:
    """One rank's part in waiting for the others."""

    def __init__(
        self,
        *,
        world_size: int,
        store: Callable[[], Store],
        say_alive: Callable[[], None],
        stall_timeout_s: float,
    ) -> None:
        """`store` returns the rendezvous store; `say_alive` tells the agent."""
        self._world_size = world_size
        self._store = store
        self._own_store: Store | None = None
        self._say_alive = say_alive
        self._beat_s = min(BEAT_S, stall_timeout_s / BEATS_PER_TIMEOUT)
        self._num_meetings = 0

    def meet(self) -> None:
        """Return when all ranks have come here: the n-th call of each is about the same meeting."""
        if self._world_size == 1:
            return
        store = self.store()
        self._num_meetings += 1
        key = f"trainmaster/meeting/{self._num_meetings}"
        if store.add(f"{key}/come", 1) == self._world_size:
            store.set(f"{key}/whole", "yes")
        self.wait_for(f"{key}/whole")

    def wait_for(self, key: str) -> bytes:
        """Return a value of the store when it is set, and be alive meanwhile as long as somebody beats.

        Raises TimeoutError after WORK_TIMEOUT_S without a beat: without an agent there is no stall_timeout.
        """
        store, beats, pause_s = self.store(), 0, SHORTEST_PAUSE_S
        heard_at = looked_at = time.monotonic()
        while not store.check([key]):  # torch's own wait writes two lines into the trial's log whenever it times out
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if (now := time.monotonic()) < looked_at + self._beat_s:
                continue
            looked_at = now
            if (counted := store.add(_BEATS, 0)) != beats:
                beats, heard_at = counted, now
                self._say_alive()
            elif now > heard_at + WORK_TIMEOUT_S:
                raise TimeoutError(f"the other ranks did not come within {WORK_TIMEOUT_S:.0f} s ({key})")
        return store.get(key)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Be alive for as long as the context lasts, with all who wait for this rank."""
        over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(over,), name="trainmaster-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def store(self) -> Store:
        """Return a connection of the main thread's own: waiting on one keeps others from using it."""
        if self._own_store is None:
            self._own_store = self._store().clone()
        return self._own_store

    def _beat(self, over: threading.Event) -> None:
        store: Store | None = None
        for _ in range(round(WORK_TIMEOUT_S / self._beat_s)):
            if over.wait(self._beat_s):
                return
            self._say_alive()
            if self._world_size > 1:
                store = store or self._store().clone()
                store.add(_BEATS, 1)
