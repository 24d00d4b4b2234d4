"""A real scheduler process on a real log: every decision it wrote is made again from the log alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from services.scheduler.fidelity import Replay
from shared import broker, runtime, subjects
from shared.decisions import Fold
from shared.events import (
    AgentDrainRequested,
    AgentLost,
    DefaultPolicySet,
    Event,
    GPUAllocated,
    PreemptionReason,
    PreemptionRequested,
)
from shared.ids import AgentId, ExperimentId
from shared.log import Follower, Recorded
from tests.scheduler.test_service import Scene, scene
from tests.scheduler.world import joined, preempted, requested, submitted
from tests.support.servers import NatsServer

VIP = ExperimentId("vip")


async def test_what_a_real_scheduler_decided_is_reproduced_bit_for_bit(nats_server: NatsServer) -> None:
    with scene(nats_server) as cluster:
        cluster.start("main", TM_POOL_POLICY="priority preemption", TM_AGENT_TIMEOUT_S="5")
        async with beating(nats_server):
            await cluster.say("gateway", submitted(priority=60))
            await cluster.say("worker-a1", joined("a1", 2))
            await cluster.say("searcher", requested(1, slots=2), requested(2))
            first = await _allocated(cluster, "exp-1")
            await cluster.say("gateway", submitted(VIP, priority=10))
            await cluster.say("searcher", requested(1, slots=2, experiment_id=VIP))
            await _asked(cluster, PreemptionReason.PRIORITY)
            await cluster.say("worker-a1", preempted(first))
            await _allocated(cluster, "vip-1")
            await cluster.say("gateway", AgentDrainRequested(agent_id=AgentId("a1"), grace_s=0.0))
            await _asked(cluster, PreemptionReason.DRAINED)
        await cluster.until(lambda events: any(isinstance(event, AgentLost) for event in events))
        log = await _whole_log(nats_server)
    assert any(isinstance(recorded.event, DefaultPolicySet) for recorded in log)
    replay = Replay()
    for recorded in log:
        replay.read(recorded)
    found = replay.finish()
    assert found.num_decisions == found.num_reproduced >= 6, found.differences
    assert found.num_unplaced == 0


@contextlib.asynccontextmanager
async def beating(nats_server: NatsServer) -> AsyncIterator[None]:
    """The agent's heart, for as long as the context lasts."""
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        subject = subjects.health_subject("worker", "a1")
        beat = asyncio.create_task(runtime.beat(client, subject, lambda: {"incarnation": "i1"}))
        yield
        beat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beat


async def _allocated(cluster: Scene, trial_id: str) -> GPUAllocated:
    def found(events: list[Event]) -> list[GPUAllocated]:
        return [event for event in events if isinstance(event, GPUAllocated) and event.trial_id == trial_id]

    return found(await cluster.until(lambda events: bool(found(events))))[0]


async def _asked(cluster: Scene, reason: PreemptionReason) -> None:
    await cluster.until(
        lambda events: any(isinstance(event, PreemptionRequested) and event.reason is reason for event in events)
    )


async def _whole_log(nats_server: NatsServer) -> list[Recorded]:
    log: list[Recorded] = []
    fold = Fold(log.append)
    async with broker.connect(nats_server.url_as("tracker"), "test") as client:
        follower = Follower(client, subjects.EVENTS)
        while not (log and follower.at_head):
            fold(await follower.next())
    return log
