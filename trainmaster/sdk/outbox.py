"""What waits to be sent to the agent, bounded, so that a slow agent never slows training.

Three kinds wait here. Training points are many and each alone matters little: when MAX_POINTS wait, every second one of
the older half is dropped (the curve stays, thinner) and counted. Frames (validations, checkpoints, the farewell) are
few and all matter: none is ever dropped; when MAX_FRAMES wait, adding one blocks until the agent has taken some. Of
signs of life only the latest waits.
"""

import threading
import time
from dataclasses import dataclass

from trainmaster.sdk.assignment import Frame
from trainmaster.sdk.metrics import Captured

MAX_POINTS = 10_000
MAX_FRAMES = 256
POINTS_PER_BATCH = 100
FLUSH_INTERVAL_S = 0.5
STUCK_AGENT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Metrics of one group at one step."""

    step: int
    time_s: float
    metrics: dict[str, Captured]
    group: str = "training"


class Outbox:
    """A queue with many writers and one reader."""

    def __init__(self, max_points: int = MAX_POINTS, max_frames: int = MAX_FRAMES) -> None:
        self._changed = threading.Condition()
        self._points: list[Point] = []
        self._frames: list[Frame] = []
        self._latest: Frame | None = None
        self._max_points = max_points
        self._max_frames = max_frames
        self._flush_at = 0.0
        self._closed = False
        self.num_dropped = 0

    def add_point(self, point: Point) -> None:
        """Queue a training point. Never blocks; may drop older points."""
        with self._changed:
            if len(self._points) >= self._max_points:
                waiting = len(self._points)
                del self._points[: self._max_points // 2 : 2]
                self.num_dropped += waiting - len(self._points)
            self._points.append(point)
            if len(self._points) == 1 and self._latest is None:
                self._flush_soon()
            if len(self._points) == POINTS_PER_BATCH:
                self._changed.notify_all()

    def add_latest(self, frame: Frame) -> None:
        """Queue a frame that takes the place of the one before, unless that was sent. Never blocks."""
        with self._changed:
            is_first = self._latest is None and not self._points
            self._latest = frame
            if is_first:
                self._flush_soon()

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
                wait_s = self._flush_at - time.monotonic() if self._points or self._latest else None
                if wait_s is not None and wait_s <= 0:
                    break
                self._changed.wait(wait_s)
            points, frames = self._points, ([self._latest] if self._latest else []) + self._frames
            self._points, self._frames, self._latest = [], [], None
            self._changed.notify_all()
        return (points, frames) if points or frames else None

    def _flush_soon(self) -> None:
        """Have the reader take what waits within the interval."""
        self._flush_at = time.monotonic() + FLUSH_INTERVAL_S
        self._changed.notify_all()
