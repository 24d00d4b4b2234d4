"""Traces along `traceparent` (W3C Trace Context): from HTTP through the envelopes of events to a trial's process.

A trace is carried on whether or not anybody collects it: what comes in goes out. Spans are made only where
OTEL_EXPORTER_OTLP_ENDPOINT names a collector: by OpenTelemetry's SDK, which is imported then and no sooner, and sent as
OTLP over HTTP behind the work, from a bounded queue. A collector that is away costs spans, never time.
"""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SEND_TIMEOUT_S = 2.0  # with its retries; a service that stops waits for one sending

_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

#: The trace that what happens now belongs to; whoever appends an event on the way writes it into the envelope.
current: ContextVar[str | None] = ContextVar("traceparent", default=None)

#: What makes spans of all that runs inside `exporting`.
_provider: ContextVar["TracerProvider | None"] = ContextVar("provider", default=None)


class Kind(StrEnum):
    """What a span stands for, as OpenTelemetry names it."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


def endpoint() -> str | None:
    """Return OTEL_EXPORTER_OTLP_ENDPOINT, without which no span is made. Exits when it is no HTTP address."""
    url = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if url and urlsplit(url).scheme not in {"http", "https"}:
        raise SystemExit(f"OTEL_EXPORTER_OTLP_ENDPOINT is {url!r}; it must be http://… or https://…")
    return url or None


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
    provider = _provider.get()
    with contextlib.nullcontext(parent) if provider is None else _span(provider, name, parent, kind, attributes) as own:
        token = current.set(own)
        try:
            yield
        finally:
            current.reset(token)


@contextlib.contextmanager
def _span(
    provider: "TracerProvider", name: str, parent: str | None, kind: Kind, attributes: Mapping[str, str] | None
) -> Iterator[str | None]:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator, own = TraceContextTextMapPropagator(), dict[str, str]()
    context = propagator.extract({"traceparent": parent} if parent else {}, Context())
    tracer = provider.get_tracer("trainmaster")
    with tracer.start_as_current_span(name, context, SpanKind[kind], attributes):
        propagator.inject(own)
        yield own.get("traceparent")


@contextlib.asynccontextmanager
async def exporting() -> AsyncIterator[None]:
    """Send the spans of this process for as long as the context lasts; at the end, those that are left."""
    url = endpoint()
    if url is None:
        yield
        return
    provider = _make_provider()
    token = _provider.set(provider)
    try:
        yield
    finally:
        _provider.reset(token)
        await asyncio.to_thread(provider.shutdown)


def _make_provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": _service_name()}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=SEND_TIMEOUT_S)))
    return provider


def _service_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return os.environ.get("OTEL_SERVICE_NAME") or (spec.parent if spec and spec.parent else "trainmaster")
