"""What one trial uses on this agent, reported now and then as metrics of the group `system`."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from services.worker import telemetry
from services.worker.allocation import Allocation
from services.worker.facilities import Facilities
from services.worker.telemetry import Gpus
from shared.broker import raise_if_cancelled
from shared.events import Slot
from shared.volume import MetricBatch, MetricPoint

FIRST_S = 2.0  # what starts is no measure of what trains
INTERVAL_S = 10.0

_log = logging.getLogger(__name__)


class Meter:
    """Reads what the ranks of an allocation use."""

    def __init__(
        self,
        allocation: Allocation,
        facilities: Facilities,
        slots: Sequence[Slot],
        group_ids: Sequence[int],
        say: Callable[[str], None],
    ) -> None:
        """`say` writes to the trial's log."""
        self._allocation = allocation
        self._facilities = facilities
        self._group_ids = tuple(group_ids)
        self._say = say
        self._has_complained = False
        self._gpus = Gpus(slots)
        # Of a gang over several agents each says its name: their values are not one series.
        self._prefix = f"{facilities.agent_id} " if len(allocation.members) > 1 else ""

    async def run(self, step: Callable[[], int]) -> None:
        """Report for ever; `step` says where training is. A trial trains on when what it uses cannot be told."""
        while True:
            try:
                await self._report(step)
            except Exception as error:  # noqa: BLE001 # whatever it is, the trial has nothing to do with it
                raise_if_cancelled()
                self._complain(error)
            await asyncio.sleep(INTERVAL_S)

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            _log.error("what a trial uses could not be read", exc_info=error)
            self._say(f"what the trial uses could not be read, so its metrics of the group system have gaps: {error!r}")

    async def _report(self, step: Callable[[], int]) -> None:
        before, before_at = await self._usage(), time.monotonic()
        await asyncio.sleep(FIRST_S)
        while True:
            now, now_at = await self._usage(), time.monotonic()
            cores = (now.cpu_s - before.cpu_s) / (now_at - before_at)
            gpus = await asyncio.to_thread(self._gpus.read)
            self._add(step(), {"cpu_cores": max(0.0, cores), "memory_bytes": float(now.memory_bytes)} | gpus)
            before, before_at = now, now_at
            await asyncio.sleep(INTERVAL_S)

    async def _usage(self) -> telemetry.Usage:
        return await asyncio.to_thread(telemetry.usage, self._group_ids)

    def _add(self, step: int, values: dict[str, float]) -> None:
        named = {f"{self._prefix}{name}": value for name, value in values.items()}
        self._facilities.metrics.add(
            MetricBatch(
                trial_id=self._allocation.trial_id,
                experiment_id=self._allocation.experiment_id,
                epoch=self._allocation.epoch,
                points=(MetricPoint(step=step, time=datetime.now(UTC), values=named),),
                group="system",
            )
        )
