"""Training metrics on their way to the METRICS stream: in order, held in bounded memory while the broker is away."""

import asyncio
import logging
from collections import deque

import msgspec
from nats.aio.client import Client

from services.worker import volume
from services.worker.instruments import LOST_BATCHES
from shared import subjects
from shared import volume as messages
from shared.ids import AgentId
from shared.volume import MetricBatch

MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_BODY_BYTES = 512 * 1024  # the broker takes at most 1 MiB

_log = logging.getLogger(__name__)


class Metrics:
    """A bounded queue. When it is full the oldest batches go, and the agent's log says how many."""

    def __init__(self, client: Client, agent_id: AgentId) -> None:
        self._client = client
        self._agent_id = agent_id
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._filled = asyncio.Event()

    def add(self, batch: MetricBatch) -> None:
        """Queue a batch; never blocks."""
        body = messages.encode(batch)
        if len(body) > MAX_BODY_BYTES and len(batch.points) > 1:
            middle = len(batch.points) // 2
            for points in (batch.points[:middle], batch.points[middle:]):
                self.add(msgspec.structs.replace(batch, points=points))
            return
        self._waiting.append((subjects.metrics_subject(self._agent_id, batch.trial_id), body))
        self._waiting_bytes += len(body)
        self._drop_oldest()
        self._filled.set()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._filled.wait()
            while self._waiting:
                subject, body = self._waiting.popleft()
                self._waiting_bytes -= len(body)
                await volume.store(self._client, subject, body)
            self._filled.clear()

    def _drop_oldest(self) -> None:
        num_dropped = 0
        while self._waiting_bytes > MAX_WAITING_BYTES:
            self._waiting_bytes -= len(self._waiting.popleft()[1])
            num_dropped += 1
        if num_dropped:
            LOST_BATCHES.inc(num_dropped)
            _log.error("metric batches dropped: the broker is away for too long", extra={"num_dropped": num_dropped})
