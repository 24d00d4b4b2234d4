"""The tap, why and logs: straight from the streams."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared import subjects, volume
from shared.ids import AllocationId, ExperimentId
from shared.volume import LogBatch, LogLine, MetricBatch, MetricPoint
from tests.gateway.conftest import Api
from tests.support.eventually import PATIENCE_S
from tests.tracker import story


async def read_stream(api: Api, path: str, count: int, **headers: str) -> list[tuple[int | None, Any]]:
    """Return the first documents of an event stream with their ids; fewer if it ends before."""
    found: list[tuple[int | None, Any]] = []
    seq: int | None = None
    async with asyncio.timeout(PATIENCE_S), api.http.get(f"{api.url}{path}", headers=headers) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"id: "):
                seq = int(line[4:])
            elif line.startswith(b"event: end"):
                break
            elif line.startswith(b"data: "):
                found.append((seq, json.loads(line[6:])))
                seq = None
            if len(found) == count:
                break
    return found


async def test_the_log_is_read_in_pages(api: Api) -> None:
    whole = story.whole_search()
    last = await story.tell(api.log, whole)
    items: list[Any] = []
    after, at_head = 0, False
    while not at_head:
        page = await api.get("/api/v1/events", limit=5, after=after)
        items, after, at_head = items + page["items"], page["next_after"], page["at_head"]
    assert [item["name"] for item in items] == [type(event).__name__ for event in whole] and after == last
    assert all(item["text"] for item in items) and items[1]["event"]["name"] == "digits"


async def test_the_tap_filters(api: Api) -> None:
    await story.tell(api.log, story.whole_search())
    other = story.submitted(ExperimentId("m0000000"))
    await story.tell(api.log, [other])

    async def names(**query: str) -> set[str]:
        return {item["name"] for item in (await api.get("/api/v1/events", 200, **query))["items"]}

    assert await names(experiment="m0000000") == {"ExperimentSubmitted"}
    assert await names(writer="scheduler") == {"GPUAllocated", "GPUReleased"}
    assert await names(name="TrialClosed,GPUAllocated", experiment=story.EXPERIMENT) == {"TrialClosed", "GPUAllocated"}
    assert await names(name="TrialClosed", trial=story.trial(2)) == {"TrialClosed"}
    of_trial = (await api.get("/api/v1/events", trial=story.trial(2)))["items"]
    assert {item["event"]["trial_id"] for item in of_trial} == {story.trial(2)}
    assert len((await api.get("/api/v1/events", experiment=story.EXPERIMENT))["items"]) == len(story.whole_search()) - 1
    assert await names(since="2999-01-01T00:00:00Z") == set() == await names(until="2000-01-01T00:00:00Z")
    now = datetime.now(UTC).isoformat()
    assert len((await api.get("/api/v1/events", since="2000-01-01T00:00:00Z", until=now))["items"]) > 1


async def test_a_stream_goes_on_where_its_reader_was(api: Api) -> None:
    last = await story.tell(api.log, story.whole_search())
    first = await read_stream(api, "/api/v1/events/stream?after=0", 3)
    assert [seq for seq, _ in first] == [1, 2, 3]
    rest = await read_stream(api, "/api/v1/events/stream?after=0", last - 3, **{"Last-Event-ID": "3"})
    assert [seq for seq, _ in rest] == list(range(4, last + 1))
    assert [item["seq"] for _, item in rest] == [seq for seq, _ in rest]


@pytest.mark.parametrize(("path", "about"), [("events/stream", "aggregate_id"), ("status/changes", "correlation")])
async def test_a_stream_shows_what_happens_from_now_on(api: Api, path: str, about: str) -> None:
    await story.tell(api.log, [story.agent_joined()])
    reader = asyncio.create_task(read_stream(api, f"/api/v1/{path}", 1))
    submissions = []
    while not reader.done():
        submissions.append((await api.submit())["id"])
    assert (await reader)[0][1][about] in submissions


async def test_changes_go_on_where_their_reader_was(api: Api) -> None:
    last = await story.tell(api.log, story.whole_search())
    whole = await read_stream(api, "/api/v1/status/changes?after=0", last)
    rest = await read_stream(api, "/api/v1/status/changes?after=0", last - 3, **{"Last-Event-ID": "3"})
    assert rest == whole[3:] and [seq for seq, _ in rest] == list(range(4, last + 1))


async def test_why_tells_the_life_of_a_trial_from_its_submission(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    chain = (await api.get(f"/api/v1/trials/{story.trial(1)}/why", min_seq=seq))["chain"]
    names = [item["name"] for item in chain]
    assert [item["seq"] for item in chain] == sorted(item["seq"] for item in chain)
    for name in ("ExperimentSubmitted", "TrialRequested", "GPUAllocated", "TrialStarted", "TrialExited", "TrialClosed"):
        assert name in names


def lines(*texts: str, rank: int = 0) -> bytes:
    """A message of the LOGS stream."""
    batch = tuple(LogLine(time=datetime.now(UTC), stream="stdout", text=text) for text in texts)
    return volume.encode(
        LogBatch(trial_id=story.trial(), allocation_id=AllocationId("x"), epoch=1, rank=rank, lines=batch)
    )


async def test_logs_are_read_at_once_or_followed_to_the_end(api: Api) -> None:
    whole = story.whole_search()
    seq = await story.tell(api.log, whole[:7])
    for rank in (0, 1):
        body = lines("one", "two", rank=rank)
        await api.log.jetstream().publish(subjects.logs_subject("a1", story.trial(), rank), body)
    path = f"/api/v1/trials/{story.trial()}/logs"
    async with api.http.get(f"{api.url}{path}?rank=1&min_seq={seq}") as response:
        found = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [(item["rank"], item["text"]) for item in found] == [(1, "one"), (1, "two")]
    reader = asyncio.create_task(read_stream(api, f"{path}?follow=true", 100))
    await api.log.jetstream().publish(subjects.logs_subject("a1", story.trial(), 0), lines("three"))
    await story.tell(api.log, whole[7:])
    followed = await reader
    assert [item["text"] for _, item in followed] == ["one", "two", "one", "two", "three"]
    assert [seq for seq, _ in followed] == [None, 1, None, 2, 3]
    resumed = await read_stream(api, f"{path}?follow=true", 100, **{"Last-Event-ID": "1"})
    assert [item["text"] for _, item in resumed] == ["one", "two", "three"]


async def test_a_page_of_output_ends_at_a_moment(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search()[:7])
    subject = subjects.logs_subject("a1", story.trial(), 0)
    await api.log.jetstream().publish(subject, lines("before"))
    moment = datetime.now(UTC)
    await api.log.jetstream().publish(subject, lines("after"))
    path = f"/api/v1/trials/{story.trial()}/logs/page"
    for place in ({}, {"after": 0}):
        whole = await api.get(path, min_seq=seq, **place)
        then = await api.get(path, until=moment.isoformat(), **place)
        assert [line["text"] for line in whole["items"]] == ["before", "after"]
        assert [line["text"] for line in then["items"]] == ["before"]


async def test_the_status_is_followed(api: Api) -> None:
    await story.tell(api.log, story.whole_search()[:2])
    reader = asyncio.create_task(read_stream(api, "/api/v1/status/stream", 2))
    await asyncio.wait({reader}, timeout=0)
    seq = await story.tell(api.log, story.whole_search()[2:4])
    (_, first), (_, second) = await reader
    assert {"searcher", "scheduler", "tracker"} <= {service["name"] for service in first["services"]}
    assert first != second and second["log"]["last_seq"] <= seq


async def test_training_metrics_are_followed_to_the_end_and_from_where_a_client_was(api: Api) -> None:
    whole = story.whole_search()
    seq = await story.tell(api.log, whole[:7])
    now = datetime.now(UTC)
    for step, group in ((1, "training"), (2, "profiling"), (3, "training")):
        points = (MetricPoint(step, now, {"loss": 1 / step}),)
        batch = MetricBatch(trial_id=story.trial(), experiment_id=story.EXPERIMENT, epoch=1, points=points, group=group)
        await api.log.jetstream().publish(subjects.metrics_subject("a1", story.trial()), volume.encode(batch))
    path = f"/api/v1/trials/{story.trial()}/metrics/stream"
    reader = asyncio.create_task(read_stream(api, f"{path}?group=training&min_seq={seq}", 100))
    await story.tell(api.log, whole[7:])
    followed = await reader
    assert [(number, item["step"], item["values"]) for number, item in followed] == [
        (1, 1, {"loss": 1.0}),
        (3, 3, {"loss": 1 / 3}),
    ]
    resumed = await read_stream(api, path, 100, **{"Last-Event-ID": "1"})
    assert [item["step"] for _, item in resumed] == [2, 3]
    assert await read_stream(api, f"{path}?fresh=true", 100) == []
