"""The log on a real NATS server: optimistic appends, atomic batches, following across faults."""

import asyncio

import pytest
from nats.aio.client import Client

from shared import broker, log, subjects
from shared.codec import Envelope
from shared.errors import Conflict, TooLarge, Unavailable
from shared.events import Event, ExperimentPaused, ExperimentResumed, ExperimentSubmitted
from shared.ids import ExperimentId
from shared.log import Follower, Message, envelope_of
from tests.support.servers import NatsServer


def _envelope(event: Event, writer: str = "gateway") -> Envelope:
    return envelope_of(event, writer=writer, actor="test", correlation="test")


def _paused(experiment: str = "exp") -> Envelope:
    return _envelope(ExperimentPaused(experiment_id=ExperimentId(experiment)))


async def _read(follower: Follower, count: int) -> list[Message]:
    messages: list[Message] = []
    async with asyncio.timeout(15):
        while len(messages) < count:
            messages += await follower.next()
    return messages


async def test_an_append_is_refused_when_the_log_has_moved_on(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        first = await log.append(client, [_paused()], expected=0)
        with pytest.raises(Conflict):
            await log.append(client, [_paused()], expected=0)
        assert await log.append(client, [_paused()], expected=first) == first + 1


async def test_other_aggregates_do_not_disturb(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        first = await log.append(client, [_paused("one")], expected=0)
        await log.append(client, [_paused("two")], expected=0)
        await log.append(client, [_paused("one")], expected=first)


async def test_a_stale_batch_is_refused_whole(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        batch = [_paused(), _envelope(ExperimentResumed(experiment_id=ExperimentId("exp"))), _paused()]
        last = await log.append(client, batch, expected=0)
        assert last == 3
        with pytest.raises(Conflict):
            await log.append(client, batch, expected=2)
        newest = await log.last_of(client, subjects.aggregate_subject("gateway", "experiment", "exp"))
        assert newest is not None
        assert newest.seq == 3


async def test_a_large_batch_is_stored_in_order(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        batch = [_paused() for _ in range(log.MAX_BATCH)]
        assert await log.append(client, batch, expected=0) == log.MAX_BATCH
        messages = await _read(Follower(client, subjects.EVENTS), log.MAX_BATCH)
        assert [log.decode_recorded(message).envelope.id for message in messages] == [each.id for each in batch]


async def test_a_follower_sees_history_then_news_and_knows_the_head(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        await log.append(client, [_paused("one")], expected=0)
        follower = Follower(client, subjects.EVENTS)
        assert [message.seq for message in await _read(follower, 1)] == [1]
        assert follower.at_head
        await log.append(client, [_paused("two")], expected=0)
        assert [message.seq for message in await _read(follower, 1)] == [2]


async def test_an_empty_stream_is_at_its_head(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        follower = Follower(client, subjects.EVENTS)
        assert await follower.next() == []
        assert follower.at_head


async def test_a_follower_filters_by_subject(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        await log.append(client, [_paused("one")], expected=0)
        await log.append(client, [_paused("two")], expected=0)
        only_two = subjects.event_filter(aggregate_id="two")
        follower = Follower(client, subjects.EVENTS, filters=[only_two])
        assert [message.seq for message in await _read(follower, 1)] == [2]


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        follower = Follower(client, subjects.EVENTS)
        acknowledged = [await _append_stubbornly(client, f"e{number}") for number in range(5)]
        seen = await _read(follower, 5)
        await asyncio.to_thread(nats_server.server.kill)
        await asyncio.to_thread(nats_server.server.start)
        acknowledged += [await _append_stubbornly(client, f"e{number}") for number in range(5, 10)]
        seen += await _read(follower, 5)
        assert [message.seq for message in seen] == acknowledged == list(range(1, 11))


async def test_an_event_that_does_not_fit_is_refused_and_the_connection_lives(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        large = ExperimentSubmitted(
            experiment_id=ExperimentId("exp"), name="x" * log.MAX_EVENT_BYTES, config={}, code_sha256="", code_bytes=0
        )
        with pytest.raises(TooLarge, match="ExperimentSubmitted would have"):
            await log.append(client, [_paused(), _envelope(large)], expected=0)
        assert await log.append(client, [_paused()], expected=0) == 1


async def test_an_append_whose_acknowledgement_was_lost_is_not_repeated(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        envelope = _paused()
        stored = await log.append(client, [envelope], expected=0)
        assert await log.append_once(client, envelope, expected=0) == stored
        with pytest.raises(Conflict):
            await log.append_once(client, _paused(), expected=0)


async def test_a_connection_that_is_closed_for_good_ends_its_owner(nats_server: NatsServer) -> None:
    async def own() -> None:
        async with broker.connect(nats_server.url_as("gateway"), "test") as client:
            await client.close()
            await asyncio.Event().wait()

    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(own())


async def test_an_unreachable_broker_is_unavailable(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "APPEND_TIMEOUT_S", 0.2)
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        await asyncio.to_thread(nats_server.server.kill)
        with pytest.raises(Unavailable):
            await log.append(client, [_paused()], expected=0)


async def _append_stubbornly(client: Client, experiment: str) -> int:
    """Append as the services do: again until it is known to be there, never twice."""
    envelope = _paused(experiment)
    while True:
        try:
            return await log.append(client, [envelope], expected=0)
        except Unavailable:
            continue
        except Conflict:  # our own append, whose acknowledgement was lost
            stored = await log.last_of(client, str(envelope.subject))
            assert stored is not None
            return stored.seq
