"""Run the searcher: settings, connection, until SIGTERM."""

import asyncio

from services.searcher.service import Searcher
from shared import broker, runtime, settings, subjects


async def main() -> None:
    """Serve until cancelled."""
    async with broker.connect(settings.nats_url(), subjects.SEARCHER) as client:
        searcher = Searcher(client)
        health = subjects.health_subject(subjects.SEARCHER, "main")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(searcher.run(), name="search")
            tasks.create_task(runtime.beat(client, health, searcher.loop.facts), name="heartbeat")


if __name__ == "__main__":
    runtime.run_service(main)
