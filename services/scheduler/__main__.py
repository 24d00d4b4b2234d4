"""Run the scheduler: settings, connection, until SIGTERM."""

import asyncio
import os

from services.scheduler.service import Scheduler
from shared import broker, runtime, settings, subjects


async def main() -> None:
    """Serve until cancelled."""
    agent_timeout_s = float(os.environ.get("TM_AGENT_TIMEOUT_S", "10"))
    async with broker.connect(settings.nats_url(), subjects.SCHEDULER) as client:
        scheduler = Scheduler(client, agent_timeout_s=agent_timeout_s)
        health = subjects.health_subject(subjects.SCHEDULER, "main")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scheduler.run(), name="decide")
            tasks.create_task(runtime.beat(client, health, scheduler.loop.facts), name="heartbeat")


if __name__ == "__main__":
    runtime.run_service(main)
