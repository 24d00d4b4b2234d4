"""Run the scheduler: settings, connection, until SIGTERM."""

import os

from services.scheduler.pool import pool_policy
from services.scheduler.service import Scheduler
from shared import broker, runtime, settings, subjects


async def main() -> None:
    """Serve until cancelled."""
    agent_timeout_s = float(os.environ.get("TM_AGENT_TIMEOUT_S", "10"))
    async with broker.connect(settings.nats_url(), subjects.SCHEDULER) as client:
        scheduler = Scheduler(
            client,
            instance=settings.instance(),
            agent_timeout_s=agent_timeout_s,
            policy=pool_policy(os.environ.get("TM_POOL_POLICY", "priority")),
            state_directory=settings.state_directory(),
        )
        await scheduler.run()


if __name__ == "__main__":
    runtime.run_service(main)
