"""One trace from the request over the log to the trial's process; spans where somebody collects them."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from services.searcher.service import Searcher
from shared import archive, broker, codec, log, subjects, tracing
from tests.support.eventually import eventually
from tests.support.platform import RunningPlatform
from tests.support.servers import NatsServer
from tests.tracker import story
from trainmaster.client import Client
from trainmaster.client.export import RawEvent

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
CONFIG = b"entrypoint: [bash, -c, 'echo $TRACEPARENT']\nsearcher: {name: single, metric: loss}\n"


@pytest.mark.timeout(120)
def test_one_trace_links_request_events_and_trial(platform: RunningPlatform, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("code")
    headers = {"Authorization": f"Bearer {platform.token}", "traceparent": PARENT}
    files = {"config": CONFIG, "code": archive.pack(tmp_path)}
    answer = httpx.post(f"{platform.url}/api/v1/experiments", files=files, headers=headers, timeout=30)
    assert answer.status_code == 201
    experiment = answer.json()["id"]
    with Client(platform.url, platform.token) as client:
        for event in client.follow_events({"experiment": experiment, "after": 0}):
            if event["name"] == "ExperimentCompleted":
                break
        output = client.logs(f"{experiment}-1", follow=False, min_seq=event["seq"])
        lines = [line["text"] for line in output if line["stream"] == "stdout"]
        raw = [json.loads(line) for line in client.raw_events({"experiment": experiment}) if line]
    assert lines == [PARENT]
    traces = {envelope.name: envelope.traceparent for envelope in _envelopes(raw)}
    linked = {"ExperimentSubmitted", "TrialRequested", "GPUAllocated", "TrialStarted", "TrialExited", "TrialClosed"}
    assert {name for name, traceparent in traces.items() if (traceparent or "").split("-")[1:2] == [TRACE]} >= linked


def _envelopes(raw: list[dict[str, Any]]) -> Iterator[codec.Envelope]:
    import msgspec

    for item in raw:
        if "body" in item:
            yield codec.decode(msgspec.convert(item, RawEvent).body)


async def test_what_is_decided_belongs_to_the_trace_of_what_asked_for_it(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broker.connect(nats_server.url, "test") as client:
        with tracing.span("a request", PARENT):
            await story.tell(client, [story.submitted()])
        searcher = asyncio.create_task(Searcher(client, instance="main").run())
        requested = await eventually(lambda: log.last_of(client, subjects.event_filter(name="TrialRequested")))
        elected = await log.last_of(client, subjects.event_filter(name="LeaderElected"))
        searcher.cancel()
        await asyncio.gather(searcher, return_exceptions=True)
    assert requested is not None and codec.decode(requested.body).traceparent == PARENT
    assert elected is not None and codec.decode(elected.body).traceparent is None


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Span]]:
    """What a collector of OTLP over HTTP has heard."""
    heard: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            said = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            heard.extend(span for of in said.resource_spans for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name in the library
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        yield heard
        server.shutdown()
        thread.join()


async def test_spans_are_sent_with_their_parents(collector: list[Span]) -> None:
    async with tracing.exporting():
        with tracing.span("outer", PARENT, tracing.Kind.SERVER, {"trial": "x-1"}):
            outer = tracing.current.get()
            with tracing.span("inner", outer):
                assert tracing.variables() == {"TRACEPARENT": tracing.current.get()}
            with pytest.raises(ZeroDivisionError), tracing.span("broken", outer):
                _ = 1 / 0
    spans = {span.name: span for span in collector}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert spans["outer"].parent_span_id.hex() == "b7ad6b7169203331"
    assert spans["inner"].parent_span_id == spans["broken"].parent_span_id == spans["outer"].span_id
    assert (spans["outer"].kind, spans["inner"].kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL)
    assert (spans["broken"].status.code, spans["inner"].status.code) == (
        Status.STATUS_CODE_ERROR,
        Status.STATUS_CODE_UNSET,
    )
    assert [(found.key, found.value.string_value) for found in spans["outer"].attributes] == [("trial", "x-1")]


async def test_a_span_without_a_parent_begins_a_trace(collector: list[Span]) -> None:
    async with tracing.exporting():
        with tracing.span("first", None):
            carried = tracing.current.get()
    (first,) = collector
    assert carried is not None and tracing.parse(carried) == carried
    assert carried.startswith(f"00-{first.trace_id.hex()}-{first.span_id.hex()}-")
    assert not first.parent_span_id


async def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    async with asyncio.timeout(5), tracing.exporting():
        with tracing.span("lost", PARENT):
            pass


def test_without_a_collector_a_trace_is_carried_on_and_none_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with tracing.span("a", PARENT):
        assert tracing.variables() == {"TRACEPARENT": PARENT}
    with tracing.span("b", None):
        assert tracing.variables() == {}


@pytest.mark.parametrize(
    "text",
    [None, "", "x", PARENT.upper(), PARENT + "0", f"01-{PARENT[3:]}", f"00-{'0' * 32}-{'1' * 16}-01", PARENT + "\n"],
)
def test_what_is_no_traceparent_is_left_out(text: str | None) -> None:
    assert tracing.parse(text) is None


def test_an_endpoint_that_is_no_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "file:///etc/passwd")
    with pytest.raises(SystemExit, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        tracing.endpoint()
