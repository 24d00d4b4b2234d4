"""What every service counts of itself, for Prometheus; a service adds its own in its `instruments.py`.

Names follow Prometheus' conventions: base units (seconds, bytes) in the name, `_total` on counters. All of a process
are in one registry, which `shared.exposition` shows. Counting costs a microsecond and never waits.
"""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call] # theirs; a second series for each counter that nobody reads

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

#: From a group commit on a fast disk to an answer that a timeout ends, in seconds.
FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

BUILD = Info("tm_build", "Which program this is.", registry=REGISTRY)
CONNECTED = Gauge("tm_broker_connected", "Whether the connection to the broker stands.", registry=REGISTRY)
RECONNECTS = Gauge("tm_broker_reconnects", "How often the broker was found again.", registry=REGISTRY)

HEAD = Gauge("tm_stream_head_seq", "The sequence of the newest message of a stream.", ("stream",), registry=REGISTRY)
POSITION = Gauge("tm_folded_seq", "The sequence up to which this process has folded.", ("stream",), registry=REGISTRY)
LAG = Gauge(
    "tm_consumer_lag_messages", "Head of the stream minus what this process folded.", ("stream",), registry=REGISTRY
)
FOLDED = Counter("tm_folded_messages", "Messages folded since the process began.", ("stream",), registry=REGISTRY)
SET_ASIDE = Gauge("tm_set_aside_messages", "Messages that could not be used.", registry=REGISTRY)

APPENDS = Counter(
    "tm_appends",
    "Appends to the log: stored, refused (it had moved on), or unanswered.",
    ("outcome",),
    registry=REGISTRY,
)
APPENDED = Counter("tm_appended_events", "Events that were stored, by name.", ("event",), registry=REGISTRY)
APPEND_SECONDS = Histogram(
    "tm_append_seconds", "From an append to its acknowledgement.", registry=REGISTRY, buckets=FAST_S
)

DECISION_SECONDS = Histogram(
    "tm_decision_seconds", "One look at what is needed now; its count is that of the looks.", registry=REGISTRY,
    buckets=(0.0001, 0.00025, 0.0005, *FAST_S),
)  # fmt: skip
LEADS = Gauge("tm_leads", "Whether this instance decides; the others stand by.", registry=REGISTRY)


@contextlib.contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe how long the context takes, unless it fails."""
    began_s = time.perf_counter()
    yield
    histogram.observe(time.perf_counter() - began_s)
