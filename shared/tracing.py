"""Traces along `traceparent` (W3C Trace Context): from HTTP through the envelopes of events to a trial's process.

A trace is carried on whether or not anybody collects it: what comes in goes out. Spans are made only where
OTEL_EXPORTER_OTLP_ENDPOINT names a collector; they are sent as OTLP over HTTP in its JSON form (OpenTelemetry Protocol
1.x, /v1/traces), behind the work and from a bounded queue: a collector that is away costs spans, never time.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import secrets
import sys
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from enum import IntEnum
from typing import Any
from urllib.parse import urlsplit

MAX_WAITING = 4096  # spans; the oldest go
BATCH = 512
PAUSE_S = 1.0
SEND_TIMEOUT_S = 5.0

_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")

#: The trace that what happens now belongs to; whoever appends an event on the way writes it into the envelope.
current: ContextVar[str | None] = ContextVar("traceparent", default=None)

_waiting: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING)
_log = logging.getLogger(__name__)


class Kind(IntEnum):
    """What a span stands for, as OTLP numbers it."""

    INTERNAL = 1
    SERVER = 2
    PRODUCER = 4
    CONSUMER = 5


def endpoint() -> str | None:
    """Return OTEL_EXPORTER_OTLP_ENDPOINT, without which no span is made. Exits when it is no HTTP address."""
    url = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if url and urlsplit(url).scheme not in {"http", "https"}:
        raise SystemExit(f"OTEL_EXPORTER_OTLP_ENDPOINT is {url!r}; it must be http://… or https://…")
    return url.rstrip("/") if url else None


def parse(text: str | None) -> str | None:
    """Return a traceparent that came from outside, None if it is none that this version knows."""
    return text if text is not None and _FORM.fullmatch(text) else None


def variables() -> dict[str, str]:
    """Return what a process is told of the trace that it belongs to."""
    traceparent = current.get()
    return {} if traceparent is None else {"TRACEPARENT": traceparent}


@contextlib.contextmanager
def span(
    name: str, parent: str | None, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Make what the context does part of a trace: of its parent's, or of a new one where spans are collected."""
    own = parent if endpoint() is None else _child(parent)
    token, began_ns = current.set(own), time.time_ns()
    failed = True
    try:
        yield
        failed = False
    finally:
        current.reset(token)
        if own is not None and own != parent:
            _keep(name, own, parent, kind, dict(attributes or {}), began_ns, failed=failed)


def _child(parent: str | None) -> str:
    found = _FORM.fullmatch(parent or "")
    trace_id = found[1] if found else secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def _keep(
    name: str, own: str, parent: str | None, kind: Kind, attributes: dict[str, str], began_ns: int, *, failed: bool
) -> None:
    _, trace_id, span_id, _ = own.split("-")
    made = {
        "traceId": trace_id,
        "spanId": span_id,
        "name": name,
        "kind": int(kind),
        "startTimeUnixNano": str(began_ns),
        "endTimeUnixNano": str(time.time_ns()),
        "attributes": _attributes(attributes),
        "status": {"code": 2 if failed else 1},
    }
    _waiting.append(made | ({"parentSpanId": parent.split("-")[2]} if parent else {}))


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


@contextlib.asynccontextmanager
async def exporting() -> AsyncIterator[None]:
    """Send the spans of this process for as long as the context lasts; at the end, those that are left."""
    url = endpoint()
    if url is None:
        yield
        return
    task = asyncio.create_task(_export(url), name="export spans")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await _send(url)


async def _export(url: str) -> None:
    while True:
        await asyncio.sleep(PAUSE_S)
        await _send(url)


async def _send(url: str) -> None:
    while _waiting:
        spans = [_waiting.popleft() for _ in range(min(BATCH, len(_waiting)))]
        try:
            await asyncio.to_thread(_post, f"{url}/v1/traces", _request(spans))
        except OSError as error:  # urllib's errors are
            _log.warning("spans lost", extra={"num_spans": len(spans), "error": str(error)})
            return


def _request(spans: list[dict[str, Any]]) -> bytes:
    resource = {"attributes": _attributes({"service.name": _service_name()})}
    scope = {"scope": {"name": "trainmaster"}, "spans": spans}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}).encode()


def _service_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return os.environ.get("OTEL_SERVICE_NAME") or (spec.parent if spec and spec.parent else "trainmaster")


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 # its scheme was looked at
    with urllib.request.urlopen(request, timeout=SEND_TIMEOUT_S) as answer:  # noqa: S310 # as above
        answer.read()
