"""Messages that nobody can use, on a real log beside good ones: each is kept with its reason, and blocks nothing."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from services.tracker.rebuild import rebuild
from services.tracker.service import Projection
from services.tracker.set_aside import Aside
from services.tracker.settings import Settings
from shared import codec, subjects, volume
from shared.log import Message, envelope_of
from shared.volume import MetricBatch, MetricPoint
from tests.tracker import story
from tests.tracker.test_service import Database, batch, reached


async def set_aside(database: Database, stream: str = subjects.EVENTS) -> dict[int, str]:
    """The reasons, by sequence."""
    rows = await database.fetch("SELECT seq, reason FROM set_aside WHERE stream = $1 ORDER BY seq", stream)
    return {row["seq"]: row["reason"] for row in rows}


def lying(event: Any) -> bytes:
    """The body of an event whose writer is not the subject's."""
    return codec.encode(envelope_of(event, writer="gateway", actor="mallory", correlation="-"))


def unknown_type() -> bytes:
    """The body of an event of a type that only a newer program knows."""
    raw: dict[str, Any] = msgspec.msgpack.decode(lying(story.requested()))
    return msgspec.msgpack.encode(raw | {"type": "TrialTeleported", "source": "searcher"})


async def test_what_cannot_be_used_is_set_aside_with_its_reason_and_everything_behind_it_arrives(
    client: Client, database: Database, tracker: None, caplog: pytest.LogCaptureFixture
) -> None:
    publish = client.jetstream().publish
    garbage = await publish("tm.searcher.experiment.x.TrialRequested", b"no event")
    unknown = await publish("tm.searcher.experiment.k3f9x2ab.TrialTeleported", unknown_type())
    liar = await publish("tm.searcher.experiment.k3f9x2ab.TrialRequested", lying(story.requested()))
    no_number = await story.tell(client, [story.requested(2**63)])
    no_search = await story.tell(client, [story.submitted(searcher={"name": "random"})])
    seq = await story.tell(client, [story.submitted(name="nul \0"), story.requested(1), *story.whole_search()])
    await reached(database, seq)
    reasons = await set_aside(database)
    assert [garbage.seq, unknown.seq, liar.seq, no_number, no_search] == list(reasons)
    assert "TrialTeleported version 1" in reasons[unknown.seq]
    assert reasons[liar.seq].startswith("body says gateway/TrialRequested, subject says tm.searcher.")
    assert "value out of int64 range" in reasons[no_number] and "metric" in reasons[no_search]
    assert await database.fetchval("SELECT count(*) FROM trials") == 2
    first = await database.fetchrow("SELECT * FROM set_aside WHERE seq = $1", garbage.seq)
    assert first is not None and (first["subject"], first["size_bytes"]) == (
        "tm.searcher.experiment.x.TrialRequested",
        len(b"no event"),
    )
    assert abs((datetime.now(UTC) - first["stored_at"]).total_seconds()) < 60
    loud = [record for record in caplog.records if record.exc_info and getattr(record, "seq", 0) == no_number]
    assert loud and loud[0].levelno == logging.ERROR


async def test_metrics_that_cannot_be_used_are_set_aside_too(client: Client, database: Database, tracker: None) -> None:
    subject = subjects.metrics_subject("a1", story.trial())
    too_far = MetricPoint(step=2**63, time=datetime.now(UTC), values={"loss": 1.0})
    poison = MetricBatch(trial_id=story.trial(), experiment_id=story.EXPERIMENT, epoch=1, points=(too_far,))
    for body in (b"\xc1", volume.encode(poison), batch(1, 2)):
        last = await client.jetstream().publish(subject, body)
    await reached(database, last.seq, "metrics")
    assert list(await set_aside(database, subjects.METRICS)) == [1, 2]
    assert await database.fetchval("SELECT step FROM training_steps") == 2


async def test_a_mistake_of_our_own_costs_one_message_and_is_loud(
    client: Client, database: Database, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy:
        """A fold that stumbles over every message that holds the step 3."""

        def __init__(self) -> None:
            self.written: list[int] = []

        async def prepare(self, connection: Database) -> None:
            """Nothing is needed."""

        async def write(self, connection: Database, messages: list[Message]) -> list[Aside]:
            """Look up what is not there."""
            for message in messages:
                _ = {3: {}}.get(message.seq, {"step": 0})["step"]
            self.written += [message.seq for message in messages]
            return []

    for step in range(1, 8):
        await client.jetstream().publish(subjects.metrics_subject("a1", story.trial()), batch(step))
    clumsy = Clumsy()
    projection = Projection(client, postgres_url, name="metrics", stream=subjects.METRICS, fold=clumsy)
    running = asyncio.create_task(projection.run())
    await reached(database, 7, "metrics")
    running.cancel()
    assert clumsy.written == [1, 2, 4, 5, 6, 7]
    assert await set_aside(database, subjects.METRICS) == {3: "KeyError: 'step'"}
    assert projection.num_set_aside == 1
    assert any(record.exc_info and record.levelno == logging.ERROR for record in caplog.records)


async def test_a_rebuild_looks_at_them_again(
    settings: Settings, client: Client, database: Database, tracker: None
) -> None:
    await client.jetstream().publish("tm.searcher.experiment.x.TrialRequested", b"no event")
    seq = await story.tell(client, [story.submitted()])
    await reached(database, seq)
    await database.execute("UPDATE set_aside SET reason = 'WRONG'")
    await rebuild(settings)
    await reached(database, seq)
    assert "WRONG" not in (await set_aside(database)).values() and len(await set_aside(database)) == 1
