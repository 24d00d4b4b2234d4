"""How many requests one token may make: a bucket that fills steadily (a token bucket), kept for those seen last."""

import math
import time
from collections import OrderedDict

MAX_BUCKETS = 10_000  # the one used longest ago is forgotten: it would be full again soon
BURST_S = 2.0  # how long a token may save up


class Pace:
    """The buckets of all who asked lately, in memory of at most MAX_BUCKETS."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._size = max(1.0, per_s * BURST_S)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> (left, at)

    def take(self, name: str) -> int:
        """Take one request from a bucket: 0 when there was one, else in how many whole seconds there will be."""
        now = time.monotonic()
        left, at = self._buckets.pop(name, (self._size, now))
        left = min(self._size, left + (now - at) * self._per_s)
        allowed = left >= 1
        self._buckets[name] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) / self._per_s))
