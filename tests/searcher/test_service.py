"""The searcher as a shell, on a real broker: a whole Bayesian search, with two searchers at work."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

from nats.aio.client import Client

from services.searcher.service import Searcher
from shared import broker, log, subjects
from shared.events import Event, ExperimentCompleted, TrialClosed, TrialRequested
from shared.log import Follower, envelope_of
from tests.searcher.world import EXPERIMENT, allocated, exited, reported, submitted
from tests.support.servers import NatsServer

SEARCH = "{name: bayesian, metric: loss, max_trials: 5, max_concurrent_trials: 2, initial_trials: 2}"


async def test_a_bayesian_search_requests_its_trials_once_and_completes(nats_server: NatsServer) -> None:
    events: list[Event] = []
    async with _running(nats_server), _running(nats_server), asyncio.timeout(60):
        await _append(nats_server, "gateway", submitted(SEARCH))
        async with broker.connect(nats_server.url_as("tracker"), "test") as client:
            follower = Follower(client, subjects.EVENTS)
            while not any(isinstance(event, ExperimentCompleted) for event in events):
                for message in await follower.next():
                    event = log.decode_recorded(message).event
                    assert event is not None
                    events.append(event)
                    if isinstance(event, TrialRequested):
                        await _train(nats_server, event)
    requested = [event for event in events if isinstance(event, TrialRequested)]
    assert [event.index for event in requested] == [1, 2, 3, 4, 5]
    assert [event.origin.split(",")[0] for event in requested[2:]] == ["Gaussian process"] * 3
    closed = [event.trial_id for event in events if isinstance(event, TrialClosed)]
    assert sorted(closed) == [event.trial_id for event in requested]


async def _train(nats_server: NatsServer, request: TrialRequested) -> None:
    """Let a trial get its slots, validate and complete."""
    lr: float = request.hyperparameters["lr"]
    await _append(nats_server, "scheduler", allocated(request.index))
    await _append(nats_server, "worker-a1", reported(request.index, abs(lr - 0.01)), exited(request.index))


@contextlib.asynccontextmanager
async def _running(nats_server: NatsServer) -> AsyncIterator[None]:
    async with broker.connect(nats_server.url_as("searcher"), "searcher") as client:
        task = asyncio.create_task(Searcher(client, instance=secrets.token_hex(4)).run(), name="searcher")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _append(nats_server: NatsServer, writer: str, *events: Event) -> None:
    envelopes = [envelope_of(event, writer=writer, actor="test", correlation=EXPERIMENT) for event in events]
    first = envelopes[0].subject
    async with broker.connect(nats_server.url_as(writer), "test") as client:
        await log.append(client, envelopes, expected=await _last(client, first.aggregate_id, writer, first.aggregate))


async def _last(client: Client, aggregate_id: str, writer: str, aggregate: str) -> int:
    message = await log.last_of(client, subjects.aggregate_subject(writer, aggregate, aggregate_id))
    return message.seq if message else 0
