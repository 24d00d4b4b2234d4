"""Training metrics on their way to the METRICS stream."""

import asyncio
from datetime import UTC, datetime

import pytest

from services.worker import metrics
from services.worker.metrics import Metrics
from shared import broker, subjects
from shared import volume as messages
from shared.ids import AgentId, ExperimentId, TrialId
from shared.log import Follower
from shared.volume import MetricBatch, MetricPoint
from tests.support.eventually import PATIENCE_S
from tests.support.servers import NatsServer

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def batch(*steps: int, num_names: int = 1) -> MetricBatch:
    values = {f"metric-{number}-{'x' * 200}": 0.5 for number in range(num_names)}
    points = tuple(MetricPoint(step=step, time=NOW, values=values) for step in steps)
    return MetricBatch(trial_id=TrialId("e-1"), experiment_id=ExperimentId("e"), epoch=1, points=points)


async def stored_steps(nats: NatsServer, count: int) -> list[int]:
    async with broker.connect(nats.url, "test") as client:
        follower = Follower(client, subjects.METRICS)
        steps: list[int] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(steps) < count or not follower.at_head:
                for message in await follower.next():
                    steps += [point.step for point in messages.decode_metrics(message.body).points]
        await follower.close()
    return steps


async def test_batches_arrive_in_order_and_large_ones_in_parts(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        queue = Metrics(client, AgentId("a1"))
        running = asyncio.create_task(queue.run())
        queue.add(batch(1, 2))
        queue.add(batch(*range(3, 23), num_names=1000))  # 4 MB: the broker takes 1 MiB
        queue.add(batch(23))
        assert await stored_steps(nats_server, 23) == list(range(1, 24))
        running.cancel()


async def test_when_too_much_waits_the_oldest_go(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_WAITING_BYTES", len(messages.encode(batch(1))) * 3)
    async with broker.connect(nats_server.url_as("worker-a1"), "test") as client:
        queue = Metrics(client, AgentId("a1"))
        for step in range(10):
            queue.add(batch(step))
        running = asyncio.create_task(queue.run())
        assert await stored_steps(nats_server, 3) == [7, 8, 9]
        running.cancel()
