"""Two real processes under one agent's name, and a real scheduler that has to choose."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.worker import workspace
from shared.events import AgentJoined, AgentLost, AgentRefused, LeaderElected
from tests.support.eventually import eventually
from tests.worker.cluster import Cluster

#: After which the scheduler takes a silent agent for lost: longer than one takes to start on a busy machine.
TIMEOUT_S = 10.0


class Processes:
    """Agents under one name, each in a directory of its own."""

    def __init__(self, tm: Cluster, directory: Path) -> None:
        self._tm, self.directory = tm, directory
        self.all: list[asyncio.subprocess.Process] = []

    async def agent(self, directory: str) -> asyncio.subprocess.Process:
        """Start an agent."""
        environment = self._tm.environment() | {"TM_WORK_DIR": str(self.directory / directory)}
        process = await asyncio.create_subprocess_exec(
            *self._tm.light_agent(), env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        self.all.append(process)
        return process

    async def scheduler(self) -> None:
        """Start the scheduler and wait until it leads."""
        settings = {"TM_NATS_URL": self._tm.nats.url_as("scheduler"), "TM_AGENT_TIMEOUT_S": str(TIMEOUT_S)}
        command = (sys.executable, "-P", "-m", "services.scheduler")
        self.all.append(
            await asyncio.create_subprocess_exec(*command, env=os.environ | settings, stdout=asyncio.subprocess.DEVNULL)
        )
        await self._tm.wait_for(LeaderElected)


@pytest.fixture
async def processes(tm: Cluster, tmp_path: Path) -> AsyncIterator[Processes]:
    started = Processes(tm, tmp_path)
    await started.scheduler()
    yield started
    for process in started.all:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_second_process_under_a_name_that_is_alive_is_refused_and_says_why(
    tm: Cluster, processes: Processes
) -> None:
    await processes.agent("one")
    first = await tm.wait_for(AgentJoined)
    second = await processes.agent("two")
    refused = await tm.wait_for(AgentRefused)
    assert refused.incarnation != first.incarnation and "another process is alive as agent a1" in refused.reason
    _, told = await second.communicate()
    assert second.returncode != 0 and b"refused by the scheduler: another process is alive" in told
    assert not tm.events(AgentLost), "the first one does not notice"


async def test_a_process_takes_over_a_dead_ones_name_at_once_in_its_directory_and_in_time_elsewhere(
    tm: Cluster, processes: Processes
) -> None:
    first = await processes.agent("one")
    before = await tm.wait_for(AgentJoined)
    await eventually(lambda: workspace.last_incarnation(processes.directory / "one") == before.incarnation)
    first.kill()
    await first.wait()
    second = await processes.agent("one")
    after = await tm.wait_for(AgentJoined, 2)
    assert after.succeeds == before.incarnation and not tm.events(AgentLost)
    second.kill()
    await second.wait()
    async with tm.agent(work_directory=processes.directory / "elsewhere"):  # here: it joins before the name is free
        assert (await tm.wait_for(AgentLost)).incarnation == after.incarnation
        fresh = await eventually(lambda: [e for e in tm.events(AgentJoined) if e.succeeds == ""][2:])
    assert fresh[0] == tm.events(AgentJoined)[-2], "it joined again when the name was free"
    assert not tm.events(AgentRefused)
