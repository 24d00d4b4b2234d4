"""What the tracker shows to Prometheus besides what every service does."""

from prometheus_client import Histogram

from shared.instruments import FAST_S, REGISTRY

TRANSACTION_SECONDS = Histogram(
    "tm_projection_seconds", "One batch of messages, written and committed.", ("stream",), registry=REGISTRY,
    buckets=FAST_S,
)  # fmt: skip
