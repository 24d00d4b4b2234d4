"""What waits to be sent to the agent, bounded, so that a slow agent never slows training.

Three kinds wait here. Training points are many and each alone matters little: when MAX_POINTS wait, every second one of
the older half is dropped (the curve stays, thinner) and counted. Frames (validations, checkpoints, the farewell) are
few and all matter: none is ever dropped; when MAX_FRAMES wait, adding one blocks until the agent has taken some. Of
signs of life only the latest waits.

The training loop adds points and signs of life at every step, with nothing of ours left in the processor's caches:
a lock alone takes 10 us then. So these two take none: what they add, they add in one move that no other thread can come
between, and only the first after each delivery wakes the reader. The reader says that it has to be woken again *before*
it looks, so whatever it does not see wakes it.
"""

import threading
import time
from collections import deque
from typing import NamedTuple

from trainmaster.sdk.assignment import Frame
from trainmaster.sdk.metrics import Captured

MAX_POINTS = 10_000
MAX_FRAMES = 256
POINTS_PER_BATCH = 100
FLUSH_INTERVAL_S = 0.5
STUCK_AGENT_TIMEOUT_S = 600.0


class Point(NamedTuple):
    """Metrics of one group at one step; a tuple because one is made at every step."""

    step: int
    time_s: float
    metrics: dict[str, Captured]
    group: str = "training"


class Outbox:
    """A queue with many writers and one reader."""

    def __init__(self, max_points: int = MAX_POINTS, max_frames: int = MAX_FRAMES) -> None:
        self._changed = threading.Condition()
        self._points: deque[Point] = deque()
        self._frames: list[Frame] = []
        self._latest: tuple[Frame] | None = None  # what has not been sent differs, as an object, from what was
        self._sent: tuple[Frame] | None = None
        self._max_points = max_points
        self._max_frames = max_frames
        self._is_due = False  # the reader knows that something waits, and comes for it at _flush_at
        self._flush_at = 0.0
        self._closed = False
        self.num_dropped = 0

    def add_point(self, point: Point) -> None:
        """Queue a training point. Never blocks; may drop older points."""
        self._points.append(point)
        num_waiting = len(self._points)
        if num_waiting > self._max_points:
            self._thin_out()
        if num_waiting % POINTS_PER_BATCH == 0 or not self._is_due:
            self._wake()

    def add_latest(self, frame: Frame) -> None:
        """Queue a frame that takes the place of the one before, unless that was sent. Never blocks."""
        self._latest = (frame,)
        if not self._is_due:
            self._wake()

    def add_frame(self, frame: Frame) -> None:
        """Queue a frame to be sent at once, after the points before it. Blocks while too many wait."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._frames) < self._max_frames, STUCK_AGENT_TIMEOUT_S):
                raise TimeoutError(f"the agent has not read from this rank for {STUCK_AGENT_TIMEOUT_S:.0f} s")
            self._frames.append(frame)
            self._changed.notify_all()

    def close(self) -> None:
        """Let the reader take what waits, and then end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self) -> tuple[list[Point], list[Frame]] | None:
        """Wait until something is due and return all that waits; None when closed and empty."""
        with self._changed:
            while not (self._frames or self._closed or len(self._points) >= POINTS_PER_BATCH):
                wait_s = self._flush_at - time.monotonic() if self._is_due else None
                if wait_s is not None and wait_s <= 0:
                    break
                self._changed.wait(wait_s)
            self._is_due = False
            points = [self._points.popleft() for _ in range(len(self._points))]
            latest, frames = self._latest, self._frames
            if latest is not None and latest is not self._sent:
                self._sent, frames = latest, [*latest, *frames]
            self._frames = []
            self._changed.notify_all()
        return (points, frames) if points or frames or not self._closed else None

    def _thin_out(self) -> None:
        with self._changed:
            older = [self._points.popleft() for _ in range(min(len(self._points), self._max_points // 2))]
            kept = older[1::2]
            self._points.extendleft(reversed(kept))
            self.num_dropped += len(older) - len(kept)

    def _wake(self) -> None:
        """Have the reader take what waits within the interval, or at once if a batch is full."""
        with self._changed:
            if not self._is_due:
                self._is_due, self._flush_at = True, time.monotonic() + FLUSH_INTERVAL_S
            self._changed.notify_all()
