"""A search that goes on while something is measured, beside some that are over.

All of it is real but for the agent, a stub that reports for its trials (40 events a second): training would take the
cores that this machine has.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from benchmarks.platform import Platform
from benchmarks.stub_trials import CONFIG, StubAgent, admin_url
from shared import broker
from shared.events import Event, GPUAllocated, MetricReported, TrialStarted
from shared.log import Recorded

SLOTS = 8
REPORTS_S = 0.2
PREPARED = 20
TIMEOUT_S = 60.0
SETTLING_S = 3.0  # until the canceled ones are closed


class Reporting(StubAgent):
    """An agent whose trials go on and on, and report."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, num_slots=SLOTS)
        self.running: list[dict[str, Any]] = []
        self.all_started = asyncio.Event()
        self._speaking = asyncio.Lock()  # what it says is expected to come after what it said

    def _life(self, recorded: Recorded) -> list[tuple[Event, tuple[int, ...], str]]:
        event = recorded.event
        assert isinstance(event, GPUAllocated)
        names = ("trial_id", "experiment_id", "allocation_id", "epoch")
        speaking = {name: getattr(event, name) for name in names} | {"agent_id": event.members[0].agent_id}
        self.running.append(speaking)
        if len(self.running) == SLOTS:
            self.all_started.set()
        return [
            (TrialStarted(**speaking, world_size=1, warm=True, resumed_from=None), (recorded.seq,), event.experiment_id)
        ]

    async def say(self, facts: list[tuple[Event, tuple[int, ...], str]]) -> None:
        """Append facts, one batch after the other."""
        async with self._speaking:
            await super().say(facts)

    async def report(self) -> None:
        """Report a validation of every trial, for ever."""
        for step in itertools.count(1):
            await asyncio.sleep(REPORTS_S)
            said: list[tuple[Event, tuple[int, ...], str]] = [
                (MetricReported(**speaking, step=step, metrics={"loss": 1 / step}), (), speaking["experiment_id"])
                for speaking in self.running
            ]
            if said:
                await self.say(said)


@contextlib.asynccontextmanager
async def searching(running: Platform, code: Path) -> AsyncIterator[list[str]]:
    """A search that goes on, and some that are over; their ids, the live one first."""
    config = CONFIG | {
        "searcher": {"name": "random", "metric": "loss", "max_trials": SLOTS, "max_concurrent_trials": SLOTS}
    }
    async with broker.connect(admin_url(running.data), "stub agent") as client:
        agent = Reporting(client)
        await agent.join()
        tasks = [asyncio.create_task(agent.run()), asyncio.create_task(agent.report())]
        try:
            ids = [await asyncio.to_thread(running.submit, config, code) for _ in range(PREPARED)]
            for one in ids[1:]:
                await asyncio.to_thread(running.cancel, one)
            async with asyncio.timeout(TIMEOUT_S):
                await agent.all_started.wait()
            await asyncio.sleep(SETTLING_S)
            yield ids
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
