"""Training metrics as agents publish them, and how long until the database has them."""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self, TypeAlias

import asyncpg
from nats.aio.client import Client

from shared import subjects, volume
from shared.volume import MetricBatch, MetricPoint
from tests.tracker import story

IN_FLIGHT = 64
COMMIT_TIMEOUT_S = 300.0
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Message: TypeAlias = tuple[str, bytes]


def messages(
    trials: Iterable[int], *, first_step: int, num_steps: int, num_names: int, steps_each: int
) -> list[Message]:
    """Return batches of so many steps each, the trials by turns."""
    return [
        _message(index, range(step, min(step + steps_each, first_step + num_steps)), num_names)
        for step in range(first_step, first_step + num_steps, steps_each)
        for index in trials
    ]


def _message(index: int, steps: range, num_names: int) -> Message:
    points = tuple(
        MetricPoint(
            step=step,
            time=_BEGAN + timedelta(milliseconds=100 * step, microseconds=step * 7919 % 1000),
            values={f"metric_{n}": math.sin(step / 1000 + n) + step * 7919 % 1000 / 5000 for n in range(num_names)},
        )
        for step in steps
    )
    trial_id = story.trial(index)
    batch = MetricBatch(trial_id=trial_id, experiment_id=story.EXPERIMENT, epoch=1, points=points)
    return subjects.metrics_subject("a1", trial_id), volume.encode(batch)


class Pipeline:
    """METRICS at one end, the committed position at the other."""

    def __init__(self, client: Client, database: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._client = client
        self._database = database
        self._moved = asyncio.Event()

    @classmethod
    async def open(cls, client: Client, database: "asyncpg.Connection[asyncpg.Record]") -> Self:
        """Listen to the tracker's commits."""
        pipeline = cls(client, database)
        await database.add_listener("projection", lambda *_: pipeline._moved.set())
        return pipeline

    async def time_s(self, told: Sequence[Message]) -> float:
        """Publish the messages, each acknowledged; return the seconds until the last one is committed."""
        began = time.perf_counter()
        last = await self.publish(told)
        await self.committed(last)
        return time.perf_counter() - began

    async def publish(self, told: Sequence[Message]) -> int:
        """Publish the messages; return the last sequence."""
        jetstream, remaining = self._client.jetstream(), iter(told)

        async def publish_some() -> int:
            last = 0
            for subject, body in remaining:
                last = (await jetstream.publish(subject, body)).seq
            return last

        return max(await asyncio.gather(*(publish_some() for _ in range(IN_FLIGHT))))

    async def committed(self, seq: int) -> None:
        """Wait until a message is in the database."""
        async with asyncio.timeout(COMMIT_TIMEOUT_S):
            while True:
                self._moved.clear()
                position = await self._database.fetchval("SELECT position FROM projections WHERE name = 'metrics'")
                if position >= seq:
                    return
                await self._moved.wait()

    async def stored(self) -> tuple[int, int]:
        """Return how many series and how many points are stored."""
        sizes = "SELECT num_points FROM metric_chunks UNION ALL SELECT num_points FROM metric_tails"
        row = await self._database.fetchrow(
            f"SELECT (SELECT count(*) FROM metric_attempts), COALESCE(sum(num_points), 0)::bigint FROM ({sizes}) AS s"
        )
        assert row is not None
        return row[0], row[1]
