"""The agent's events against a real broker that comes and goes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from nats.aio.client import Client

from services.worker.outbox import MAX_WAITING, Outbox
from shared import broker, log, subjects
from shared.codec import Envelope
from shared.errors import TooLarge
from shared.events import AgentJoined, AgentLeft
from shared.ids import AgentId, PoolId
from shared.log import Follower, decode_recorded
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.servers import NatsServer

WRITER = "worker-a1"


def left(number: int, agent: str = "a1") -> AgentLeft:
    return AgentLeft(agent_id=AgentId(agent), incarnation=str(number), reason="test")


@contextlib.asynccontextmanager
async def outbox(client: Client) -> AsyncIterator[Outbox]:
    made = Outbox(client, WRITER)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()


async def stored(nats: NatsServer) -> list[tuple[int, str]]:
    """What is on the log: sequence and incarnation."""
    async with broker.connect(nats.url, "test") as client:
        follower = Follower(client, subjects.EVENTS)
        found: list[tuple[int, str]] = []
        while not follower.at_head:
            for message in await follower.next():
                event = decode_recorded(message).event
                assert isinstance(event, AgentLeft | AgentJoined)
                found.append((message.seq, event.incarnation))
        await follower.close()
    return found


async def test_events_are_stored_in_order_and_each_knows_its_sequence(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as(WRITER), "test") as client, outbox(client) as box:
        queued = [await box.put(left(number), causes=(), correlation="a1") for number in range(100)]
        seqs = [await future for future in queued]
    assert list(zip(seqs, map(str, range(100)), strict=True)) == await stored(nats_server)


async def test_a_new_life_goes_on_after_what_the_last_one_said(nats_server: NatsServer) -> None:
    for life in range(3):
        async with broker.connect(nats_server.url_as(WRITER), "test") as client, outbox(client) as box:
            await box.append(left(life), causes=(), correlation="a1")
    assert [incarnation for _, incarnation in await stored(nats_server)] == ["0", "1", "2"]


async def test_a_broker_that_is_killed_loses_and_doubles_nothing(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as(WRITER), "test") as client, outbox(client) as box:
        queued = [await box.put(left(number), causes=(), correlation="a1") for number in range(50)]
        await queued[0]
        nats_server.server.kill()
        queued += [await box.put(left(number), causes=(), correlation="a1") for number in range(50, 100)]
        nats_server.server.start()
        async with asyncio.timeout(30):
            seqs = [await future for future in queued]
    assert list(zip(seqs, map(str, range(100)), strict=True)) == await stored(nats_server)


async def test_an_append_whose_reply_was_lost_is_not_repeated(nats_server: NatsServer) -> None:
    class LosesReplies(Outbox):
        """Hears no answer to its first append, though the broker has taken it."""

        num_lost = 0

        async def _try(self, aggregate: tuple[str, str], envelopes: list[Envelope]) -> int | None:
            seq = await super()._try(aggregate, envelopes)
            if seq is not None and not self.num_lost:
                self.num_lost += 1
                return None
            return seq

    async with broker.connect(nats_server.url_as(WRITER), "test") as client:
        box = LosesReplies(client, WRITER)
        running = asyncio.create_task(box.run())
        seqs = [await box.append(left(number), causes=(), correlation="a1") for number in range(3)]
        running.cancel()
    assert box.num_lost == 1
    assert await stored(nats_server) == list(zip(seqs, "012", strict=True))


async def test_a_stranger_in_our_name_is_overtaken_not_fought(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as(WRITER), "test") as client, outbox(client) as box:
        await box.append(left(0), causes=(), correlation="a1")
        stranger = log.envelope_of(left(1), writer=WRITER, actor=WRITER, correlation="a1")
        await log.append(client, [stranger], expected=1)
        await box.append(left(2), causes=(), correlation="a1")
    assert [incarnation for _, incarnation in await stored(nats_server)] == ["0", "1", "2"]


async def test_an_event_that_is_too_large_fails_alone(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as(WRITER), "test") as client:
        box = Outbox(client, WRITER)
        large = AgentLeft(agent_id=AgentId("a1"), incarnation="1", reason="x" * 2**20)
        events = [left(0), large, left(2), left(3)]
        queued = [await box.put(event, causes=(), correlation="a1") for event in events]
        running = asyncio.create_task(box.run())
        async with asyncio.timeout(PATIENCE_S):
            stored_at = await asyncio.gather(*queued, return_exceptions=True)
            assert await box.append(left(4), causes=(), correlation="a1") == 4
        running.cancel()
    assert isinstance(stored_at.pop(1), TooLarge) and stored_at == [1, 2, 3]
    assert [incarnation for _, incarnation in await stored(nats_server)] == ["0", "2", "3", "4"]


async def test_when_full_it_makes_its_users_wait(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as(WRITER), "test") as client:
        box = Outbox(client, WRITER)
        for number in range(MAX_WAITING):
            await box.put(left(number), causes=(), correlation="a1")
        waiting = asyncio.create_task(box.put(left(-1), causes=(), correlation="a1"))
        await asyncio.sleep(0)
        assert not waiting.done()
        running = asyncio.create_task(box.run())
        await eventually(waiting.done)
        assert await (await waiting) == MAX_WAITING + 1
        running.cancel()


async def test_events_about_different_things_do_not_disturb_each_other(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as(WRITER), "test") as client, outbox(client) as box:
        joined = AgentJoined(
            agent_id=AgentId("a2"), incarnation="x", pool_id=PoolId("p"), address="127.0.0.1", slots=()
        )
        one = await box.put(left(0), causes=(), correlation="a1")
        two = await box.put(joined, causes=(), correlation="a1")
        three = await box.put(left(1), causes=(), correlation="a1")
        assert sorted([await one, await two, await three]) == [1, 2, 3]
