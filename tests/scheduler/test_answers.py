"""The scheduler answers what it is asked about its queue: over a real broker, with the services' own permissions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from nats.aio.client import Client

from services.scheduler import answers
from services.scheduler.service import Scheduler
from shared import broker, log, subjects
from shared.errors import Unavailable
from shared.events import DEFAULT_POLICY, Event
from shared.log import envelope_of
from shared.questions import ask
from shared.queue import QueueAnswer, QueueQuestion, ReasonKind
from tests.scheduler.world import EXPERIMENT, requested, submitted
from tests.support.eventually import eventually
from tests.support.servers import NatsServer

TIMEOUT_S = 2.0


@contextlib.asynccontextmanager
async def schedulers(nats_server: NatsServer, *instances: str) -> AsyncIterator[None]:
    """Scheduler instances for as long as the context lasts."""
    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        for instance in instances:
            client = await stack.enter_async_context(broker.connect(nats_server.url_as("scheduler"), instance))
            one = Scheduler(client, instance=instance, agent_timeout_s=10, policy=DEFAULT_POLICY)
            tasks.append(asyncio.create_task(one.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection with the gateway's permissions."""
    async with broker.connect(nats_server.url_as("gateway"), "test") as client:
        yield client


async def say(nats_server: NatsServer, writer: str, *events: Event) -> int:
    """Append what a service says, and return the last sequence."""
    envelopes = [envelope_of(event, writer=writer, actor="test", correlation="test") for event in events]
    async with broker.connect(nats_server.url_as(writer), "test") as client:
        return await log.append(client, envelopes, expected=0)


async def answer(client: Client, question: QueueQuestion) -> QueueAnswer:
    """The answer of whoever is there, and has folded as far."""

    async def told() -> QueueAnswer | None:
        with contextlib.suppress(Unavailable):
            return await ask(client, subjects.QUEUE_QUESTION, question, QueueAnswer, TIMEOUT_S)
        return None

    found = await eventually(told)
    assert found is not None
    return found


async def _with_a_queue(nats_server: NatsServer, num_trials: int = 3) -> int:
    await say(nats_server, "gateway", submitted())
    return await say(nats_server, "searcher", *(requested(index) for index in range(1, num_trials + 1)))


async def test_the_gateway_asks_and_the_answer_shows_what_it_knows_of(nats_server: NatsServer, gateway: Client) -> None:
    async with schedulers(nats_server, "one"):
        seq = await _with_a_queue(nats_server)
        told = await answer(gateway, QueueQuestion(min_position=seq))
    assert told.position >= seq
    assert told.instance == "one"
    assert [(item.position, item.trial_id) for item in told.items] == [(n, f"{EXPERIMENT}-{n}") for n in (1, 2, 3)]
    assert {item.reason.kind for item in told.items} == {ReasonKind.NO_AGENTS}
    assert [(pool.pool_id, pool.num_waiting) for pool in told.pools] == [("default", 3)]


async def test_a_long_queue_is_told_page_by_page(
    nats_server: NatsServer, gateway: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_ANSWER_BYTES", 1000)
    async with schedulers(nats_server, "one"):
        seq = await _with_a_queue(nats_server, 20)
        seen: list[str] = []
        after: int | None = 0
        num_pages = 0
        while after is not None:
            told = await answer(gateway, QueueQuestion(min_position=seq, after=after, limit=8))
            assert told.num_waiting == 20
            assert 1 <= len(told.items) <= 8
            seen += [item.trial_id for item in told.items]
            after, num_pages = told.next_after, num_pages + 1
    assert seen == [f"{EXPERIMENT}-{n}" for n in range(1, 21)]
    assert num_pages > 3, "the bytes of an answer are bounded as well"


async def test_a_page_goes_on_after_the_trial_that_was_told_last(nats_server: NatsServer, gateway: Client) -> None:
    async with schedulers(nats_server, "one"):
        seq = await _with_a_queue(nats_server, 6)
        for after_trial, told in (("2", ["3", "4"]), ("gone", ["5", "6"]), (None, ["5", "6"])):
            anchor = after_trial and f"{EXPERIMENT}-{after_trial}"
            found = await answer(gateway, QueueQuestion(min_position=seq, after=4, after_trial=anchor, limit=2))
            assert [item.trial_id for item in found.items] == [f"{EXPERIMENT}-{number}" for number in told]


async def test_standbys_answer_as_well_and_one_answer_counts(nats_server: NatsServer, gateway: Client) -> None:
    async with schedulers(nats_server, "one", "two"):
        seq = await _with_a_queue(nats_server)
        told = [await answer(gateway, QueueQuestion(min_position=seq)) for _ in range(20)]
        assert {item.instance for item in told} <= {"one", "two"}
        assert all(len(item.items) == 3 for item in told)


async def test_whoever_has_not_folded_as_far_is_silent(
    nats_server: NatsServer, gateway: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PATIENCE_S", 0.05)
    async with schedulers(nats_server, "one"):
        seq = await _with_a_queue(nats_server)
        await answer(gateway, QueueQuestion(min_position=seq))
        with pytest.raises(Unavailable):
            await ask(gateway, subjects.QUEUE_QUESTION, QueueQuestion(min_position=10**6), QueueAnswer, 0.5)


async def test_nonsense_is_no_question_and_stops_nothing(nats_server: NatsServer, gateway: Client) -> None:
    async with schedulers(nats_server, "one"):
        seq = await _with_a_queue(nats_server)
        for body in (b"", b"nonsense", msgspec.msgpack.encode({"limit": "many"})):
            await gateway.publish(subjects.QUEUE_QUESTION, body, reply=gateway.new_inbox())
        assert (await answer(gateway, QueueQuestion(min_position=seq, limit=-5, after=-1))).items


@pytest.mark.parametrize("user", ["tracker", "searcher", "worker-a1", "reader"])
async def test_nobody_else_may_ask(nats_server: NatsServer, user: str) -> None:
    async with schedulers(nats_server, "one"), broker.connect(nats_server.url_as(user), "test") as client:
        with pytest.raises(Unavailable):
            await ask(client, subjects.QUEUE_QUESTION, QueueQuestion(), QueueAnswer, 0.5)


@pytest.mark.parametrize("user", ["tracker", "searcher", "worker-a1", "gateway"])
async def test_nobody_else_may_answer(nats_server: NatsServer, gateway: Client, user: str) -> None:
    """The scheduler's subject cannot be heard by others, so nobody can answer in its place."""
    heard: list[bytes] = []

    async def hear(message: object) -> None:
        heard.append(b"")

    async with broker.connect(nats_server.url_as(user), "test") as client:
        await client.subscribe(subjects.QUEUE_QUESTION, cb=hear)
        await client.flush()
        with pytest.raises(Unavailable):
            await ask(gateway, subjects.QUEUE_QUESTION, QueueQuestion(), QueueAnswer, 0.3)
    assert heard == []
