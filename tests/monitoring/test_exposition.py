"""One page over HTTP, whoever asks: over a real connection to a real broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from shared import broker, instruments, log, subjects
from shared.errors import Conflict
from shared.events import AgentJoined
from shared.exposition import MAX_HEAD_BYTES, Exposition
from shared.ids import AgentId, PoolId
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.servers import NatsServer
from trainmaster.embedded.program import HOST, free_port

OPEN_METRICS = "application/openmetrics-text"


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    async with broker.connect(nats_server.url, "test") as connected:
        yield connected


@pytest.fixture
async def port(client: Client, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Where a process that has folded two messages shows itself."""
    free = free_port()
    monkeypatch.setenv("TM_METRICS_PORT", str(free))
    task = asyncio.create_task(Exposition(client, "test", {subjects.EVENTS: lambda: 2}).run())
    await eventually(lambda: _listens(free))
    yield free
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


async def ask(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes back; nothing does where the rest of what was sent is not read."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read()
    writer.close()
    return answer


async def values(port: int) -> dict[str, float]:
    """Return what is shown, as `name{label=value}`."""
    answer = await ask(port, f"GET /metrics HTTP/1.1\r\nAccept: {OPEN_METRICS}; version=1.0.0\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert OPEN_METRICS.encode() in head
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call] # theirs
        for sample in family.samples
    }


async def test_lag_is_the_head_of_the_stream_minus_what_was_folded(client: Client, port: int) -> None:
    before = await values(port)
    for number in range(5):
        await _append(client, f"a{number}", expected=0)
    with pytest.raises(Conflict):
        await _append(client, "a1", expected=0)
    after = await values(port)
    assert after["tm_stream_head_seq{stream=EVENTS}"] == 5
    assert after["tm_consumer_lag_messages{stream=EVENTS}"] == 3
    assert before["tm_consumer_lag_messages{stream=EVENTS}"] == 0
    assert after["tm_broker_connected"] == 1
    stored = "tm_appends_total{outcome=stored}"
    assert after[stored] - before.get(stored, 0) == 5
    assert after["tm_appends_total{outcome=refused}"] >= 1
    assert after["tm_appended_events_total{event=AgentJoined}"] >= 5


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /secrets HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\x00\xff garbage\r\n\r\n", b"405"),
        (b"GET /metrics\r\n\r\n", b"200"),
    ],
)
async def test_whatever_is_asked_is_answered(port: int, request_: bytes, status: bytes) -> None:
    assert (await ask(port, request_)).startswith(b"HTTP/1.1 " + status)


async def test_a_head_without_end_is_not_read_on(port: int) -> None:
    assert await ask(port, b"GET /metrics HTTP/1.1\r\n" + b"x" * (2 * MAX_HEAD_BYTES)) == b""


async def test_without_a_port_nothing_is_shown(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TM_METRICS_PORT", raising=False)
    async with asyncio.timeout(1):
        await Exposition(client, "test", {}).run()


@pytest.mark.parametrize("port", ["x", "0", "70000", "-1"])
async def test_a_port_that_is_none_is_said(client: Client, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_METRICS_PORT", port)
    with pytest.raises(SystemExit, match="TM_METRICS_PORT"):
        await Exposition(client, "test", {}).run()


def test_what_fails_is_not_timed() -> None:
    before = instruments.REGISTRY.get_sample_value("tm_append_seconds_count")
    with pytest.raises(ZeroDivisionError), instruments.timed(instruments.APPEND_SECONDS):
        _ = 1 / 0
    assert instruments.REGISTRY.get_sample_value("tm_append_seconds_count") == before


async def _append(client: Client, agent_id: str, expected: int) -> None:
    joined = AgentJoined(
        agent_id=AgentId(agent_id), incarnation="i1", pool_id=PoolId("default"), address=HOST, slots=()
    )
    writer = subjects.agent_writer(agent_id)
    envelope = log.envelope_of(joined, writer=writer, actor=writer, correlation="")
    await log.append(client, [envelope], expected=expected)
