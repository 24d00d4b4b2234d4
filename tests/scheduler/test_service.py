"""The scheduler as a shell, on a real broker: two of them never give a slot twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from services.scheduler.service import Scheduler
from services.scheduler.state import State, check_invariants, evolve
from shared import broker, log, subjects
from shared.decisions import Fold
from shared.events import Event, GPUAllocated
from shared.log import Follower, envelope_of
from tests.scheduler.world import joined, requested, submitted
from tests.support.servers import NatsServer

NUM_TRIALS = 12


async def test_two_schedulers_give_every_slot_once(nats_server: NatsServer) -> None:
    async with _running(nats_server), _running(nats_server):
        await _append(nats_server, "gateway", submitted())
        await _append(nats_server, "worker-a1", joined("a1", 8))
        await _append(nats_server, "worker-a2", joined("a2", 4))
        await _append(nats_server, "searcher", *(requested(index) for index in range(1, NUM_TRIALS + 1)))
        state = State()
        allocated: list[Event] = []

        def fold(recorded: log.Recorded) -> None:
            evolve(state, recorded)
            check_invariants(state)
            if isinstance(recorded.event, GPUAllocated):
                allocated.append(recorded.event)

        async with broker.connect(nats_server.url_as("tracker"), "test") as client, asyncio.timeout(20):
            follower, folded = Follower(client, subjects.EVENTS), Fold(fold)
            while len(allocated) < NUM_TRIALS:
                folded(await follower.next())
        assert not any(state.free.values())


@contextlib.asynccontextmanager
async def _running(nats_server: NatsServer) -> AsyncIterator[None]:
    async with broker.connect(nats_server.url_as("scheduler"), "scheduler") as client:
        task = asyncio.create_task(Scheduler(client, agent_timeout_s=60).run(), name="scheduler")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _append(nats_server: NatsServer, writer: str, *events: Event) -> None:
    envelopes = [envelope_of(event, writer=writer, actor="test", correlation="test") for event in events]
    async with broker.connect(nats_server.url_as(writer), "test") as client:
        await log.append(client, envelopes, expected=0)
