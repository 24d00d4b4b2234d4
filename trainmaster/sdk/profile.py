"""Where a rank's time goes, told by the loop itself: a point of figures every second at most.

step_time_s      a step, on average since the point before
samples_per_s    records a second over all ranks, where the global batch size is known
data_wait_share  the part of that time in which the loop waited for the loader of tm.deepspeed, or for `waiting`
communication_share  the part in which rank 0 waited for other ranks, where there are any and it is known
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from trainmaster.sdk import communication
from trainmaster.sdk.communication import Waits

INTERVAL_S = 1.0

T = TypeVar("T")


class Profile:
    """Counts steps and waits; cheap enough for every step."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since = clock()
        self._num_steps = 0
        self._waited_s = 0.0
        self._waits: Waits | None = None
        self._communicated_s = 0.0

    def watch_communication(self) -> None:
        """Tell of the waits for other ranks, too. Call it before the model is made, and after torch was imported."""
        self._waits = communication.watch()

    def begin(self) -> None:
        """A loop begins: what was before it counts for nothing."""
        self._since, self._num_steps, self._waited_s = self._clock(), 0, 0.0
        self._communicated_s = self._waits.total_s() if self._waits else 0.0

    def waiting(self, batches: Iterator[T]) -> Iterator[T]:
        """Yield the batches, noting how long each was waited for."""
        while True:
            asked_at = self._clock()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited_s += self._clock() - asked_at
            yield batch

    def step_ended(self, global_batch_size: int | None) -> dict[str, float] | None:
        """Return the figures since the point before if it is time for another, else None."""
        self._num_steps += 1
        passed_s = self._clock() - self._since
        if passed_s < INTERVAL_S:
            return None
        figures = {"step_time_s": passed_s / self._num_steps, "data_wait_share": min(1.0, self._waited_s / passed_s)}
        figures |= self._communication(passed_s)
        if global_batch_size is not None:
            figures["samples_per_s"] = self._num_steps * global_batch_size / passed_s
        self.begin()
        return figures

    def _communication(self, passed_s: float) -> dict[str, float]:
        if self._waits is None or (exchange_s := self._waits.exchange_s()) is None:
            return {}
        waited_s = self._waits.total_s() - self._communicated_s + self._num_steps * exchange_s
        return {"communication_share": min(1.0, waited_s / passed_s)}
