"""What the gateway shows to Prometheus besides what every service does: its HTTP, by route."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import Counter, Gauge, Histogram

from services.gateway.pulse import Pulse
from services.gateway.webhooks.hooks import Hooks
from shared.instruments import FAST_S, REGISTRY

REQUESTS = Counter("tm_http_requests", "Answers, by route.", ("method", "route", "status"), registry=REGISTRY)
SECONDS = Histogram(
    "tm_http_request_seconds", "From a request's head to its answer's last byte; streams of events are left out.",
    ("method", "route"), registry=REGISTRY, buckets=FAST_S,
)  # fmt: skip
STREAMS = Gauge("tm_http_streams", "Streams of events that are open.", registry=REGISTRY)
ALIVE = Gauge("tm_process_alive", "Whether a process was heard just now.", ("service", "instance"), registry=REGISTRY)

WEBHOOKS = Gauge(
    "tm_webhooks", "Webhooks that post (alive), or wait for a replay (dead).", ("state",), registry=REGISTRY
)
WEBHOOK_POSTS = Counter("tm_webhook_posts", "Posts that were taken, or refused.", ("outcome",), registry=REGISTRY)
WEBHOOK_DELAY = Histogram(
    "tm_webhook_delay_seconds", "From an event's append until a webhook took it, attempts and pauses included.",
    registry=REGISTRY, buckets=(*FAST_S, 60.0, 600.0, 3600.0),
)  # fmt: skip

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
EVENT_STREAM = "text/event-stream"


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count an answer and time it. What no route of ours takes counts under one name, whatever was asked for."""
    began_s = time.perf_counter()
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    method = request.method if request.method in METHODS else "other"
    status = "gone"  # the client left before it had its answer
    try:
        response = await handler(request)
        status = str(response.status)
        if response.content_type != EVENT_STREAM:
            SECONDS.labels(method, route).observe(time.perf_counter() - began_s)
        return response
    except web.HTTPException as error:
        status = str(error.status)
        raise
    finally:
        REQUESTS.labels(method, route, status).inc()


def observe(pulse: Pulse, num_streams: int, hooks: Hooks) -> None:
    """Set the gauges."""
    STREAMS.set(num_streams)
    num_alive = len(hooks.alive)
    WEBHOOKS.labels("alive").set(num_alive)
    WEBHOOKS.labels("dead").set(len(hooks.known) - num_alive)
    ALIVE.clear()
    for process in pulse.services(0):
        ALIVE.labels(process.name, process.instance).set(process.alive)
