"""Server-sent events, as a client reads them."""

import contextlib
from collections.abc import Iterator

import httpx
import pytest

from trainmaster.client import ApiError, sse
from trainmaster.client.sse import ServerEvent, parse, resumed


def test_events_are_parsed() -> None:
    lines = iter(
        ["retry: 1000", "", ": still here", "", "id: 3", "data: {}", "", "event: end", "data: a", "data: b", ""]
    )
    assert list(parse(lines)) == [
        ServerEvent(id="3", name="message", data="{}"),
        ServerEvent(id="3", name="end", data="a\nb"),
    ]


def test_an_event_that_was_cut_off_does_not_count() -> None:
    assert list(parse(iter(["id: 3", "data: half"]))) == []


def test_a_broken_stream_is_taken_up_after_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "RETRY_S", 0.0)
    bodies = iter([b"id: 1\ndata: one\n\nid: 2\ndata: tw", b"", b"id: 2\ndata: two\n\nevent: end\ndata: {}\n\n"])
    asked: list[str | None] = []

    @contextlib.contextmanager
    def connect(last_id: str | None) -> Iterator[httpx.Response]:
        asked.append(last_id)
        yield httpx.Response(200, content=next(bodies))

    assert [event.data for event in resumed(connect)] == ["one", "two"]
    assert asked == [None, "1", "1"]


def test_an_end_for_a_reason_is_an_error() -> None:
    body = b'id: 1\ndata: one\n\nevent: end\ndata: {"reason": "access changed"}\n\n'
    events = resumed(lambda last_id: contextlib.nullcontext(httpx.Response(200, content=body)))
    assert next(events).data == "one"
    with pytest.raises(ApiError, match="access changed"):
        next(events)


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "RETRY_S", 0.0)

    def connect(last_id: str | None) -> contextlib.AbstractContextManager[httpx.Response]:
        raise httpx.ConnectError("refused")

    with pytest.raises(httpx.ConnectError):
        next(resumed(connect))


def test_a_server_that_was_there_is_waited_for_and_its_loss_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "RETRY_S", 0.0)
    bodies: Iterator[bytes | None] = iter([b"id: 1\ndata: one\n\n", None, None, None, b"event: end\ndata: {}\n\n"])
    lost: list[str] = []

    @contextlib.contextmanager
    def connect(last_id: str | None) -> Iterator[httpx.Response]:
        body = next(bodies)
        if body is None:
            raise httpx.ConnectError("refused")
        yield httpx.Response(200, content=body)

    assert [event.data for event in resumed(connect, lambda: lost.append("lost"), None)] == ["one"]
    assert lost == ["lost"]


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "RETRY_S", 0.0)
    bodies = iter([b"id: 1\ndata: one\n\n"])

    @contextlib.contextmanager
    def connect(last_id: str | None) -> Iterator[httpx.Response]:
        if (body := next(bodies, None)) is None:
            raise httpx.ConnectError("refused")
        yield httpx.Response(200, content=body)

    events = resumed(connect, patience_s=0.0)
    assert next(events).data == "one"
    with pytest.raises(httpx.ConnectError):
        next(events)
