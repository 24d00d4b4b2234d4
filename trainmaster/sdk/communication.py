"""How long this process has waited for other ranks, in the operations that torch.distributed and DeepSpeed's ZeRO run.

Every such operation ends in `Work.wait`, the asynchronous ones when their result is needed; so that method is timed.
With gloo the thread stands still there. With NCCL the GPU's stream does, and so two events on the stream take the time,
which are read later: nothing waits for them.

What DistributedDataParallel exchanges inside `backward` comes to no `Work` in Python. But it times the exchange itself,
at the first ten and then at every hundredth, and what of it lay beside computation. The newest such figure counts for
every step until the next, one exchange a step.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakSet

MAX_PENDING = 10_000  # pairs of events that a GPU has not come to yet; more are not timed

Wait = Callable[..., Any]


class Waits:
    """Adds up waits."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._total_s = 0.0
        self._pending: deque[tuple[Any, Any]] = deque()
        self._parallel: WeakSet[Any] = WeakSet()

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

    def noted(self, initialize: Callable[..., None]) -> Callable[..., None]:
        """Return DistributedDataParallel's `__init__`, such that its figures are asked for."""

        @wraps(initialize)
        def initializing(model: Any, *args: Any, **kwargs: Any) -> None:
            initialize(model, *args, **kwargs)
            self._parallel.add(model)

        return initializing

    def total_s(self) -> float:
        """Return how long was waited until now, as far as is known, beside the exchanges of gradients."""
        while self._pending and self._pending[0][1].query():
            began, ended = self._pending.popleft()
            self._total_s += began.elapsed_time(ended) / 1000
        return self._total_s

    def exchange_s(self) -> float | None:
        """Return how long a step waits for DistributedDataParallel's exchange of gradients; None: not known."""
        total_s = 0.0
        for model in self._parallel:
            told = model._get_ddp_logging_data()  # noqa: SLF001 # nothing else tells
            if "backward_comm_time" not in told:
                return None
            beside_computation = told["backward_compute_comm_overlap_time"]
            total_s += max(0, told["backward_comm_time"] - beside_computation) / 1e9
        return total_s

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
    """Time all waits of this process from now on; None if it has not imported torch."""
    global _waits  # noqa: PLW0603 # the methods that are replaced are the process's, too
    distributed = sys.modules.get("torch.distributed")
    parallel = sys.modules.get("torch.nn.parallel.distributed")
    if _waits is None and distributed is not None and distributed.is_available() and parallel is not None:
        _waits = Waits()
        distributed.Work.wait = _waits.timed(distributed.Work.wait)
        model = parallel.DistributedDataParallel
        model.__init__ = _waits.noted(model.__init__)
    return _waits


def _cuda() -> Any:
    """Return torch.cuda where this process trains on a GPU."""
    cuda = sys.modules.get("torch.cuda")
    return cuda if cuda is not None and cuda.is_initialized() else None
