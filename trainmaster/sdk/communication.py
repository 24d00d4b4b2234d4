"""How long this process has waited for other ranks, in the operations that torch.distributed and DeepSpeed's ZeRO run.

Every such operation ends in `Work.wait`, the asynchronous ones when their result is needed; so that method is timed.
With gloo the thread stands still there. With NCCL the GPU's stream does, and so two events on the stream take the time,
which are read later: nothing waits for them. What DistributedDataParallel does for itself inside `backward`
comes to no `Work` in Python, and is not seen.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any

MAX_PENDING = 10_000  # pairs of events that a GPU has not come to yet; more are not timed

Wait = Callable[..., Any]


class Waits:
    """Adds up waits."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._total_s = 0.0
        self._pending: deque[tuple[Any, Any]] = deque()

    def timed(self, wait: Wait) -> Wait:
        """Return `wait`, timed."""

        @wraps(wait)
        def waiting(*args: Any, **kwargs: Any) -> Any:
            if (cuda := _cuda()) is not None:
                return self._on_a_stream(cuda, wait, args, kwargs)
            began = self._clock()
            try:
                return wait(*args, **kwargs)
            finally:
                self._total_s += self._clock() - began

        return waiting

    def total_s(self) -> float:
        """Return how long was waited until now, as far as is known."""
        while self._pending and self._pending[0][1].query():
            began, ended = self._pending.popleft()
            self._total_s += began.elapsed_time(ended) / 1000
        return self._total_s

    def _on_a_stream(self, cuda: Any, wait: Wait, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(self._pending) >= MAX_PENDING or cuda.is_current_stream_capturing():
            return wait(*args, **kwargs)
        began, ended = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        began.record()
        try:
            return wait(*args, **kwargs)
        finally:
            ended.record()
            self._pending.append((began, ended))


_waits: Waits | None = None


def watch() -> Waits | None:
    """Time all waits of this process from now on; None if it has not imported torch.distributed."""
    global _waits  # noqa: PLW0603 # the method that is replaced is the process's, too
    distributed = sys.modules.get("torch.distributed")
    if _waits is None and distributed is not None and distributed.is_available():
        _waits = Waits()
        distributed.Work.wait = _waits.timed(distributed.Work.wait)
    return _waits


def _cuda() -> Any:
    """Return torch.cuda where this process trains on a GPU."""
    cuda = sys.modules.get("torch.cuda")
    return cuda if cuda is not None and cuda.is_initialized() else None
