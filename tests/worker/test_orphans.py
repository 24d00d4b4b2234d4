"""Nobody outlives an agent that is killed, whoever is left to see to it."""

import asyncio
import os
import signal

import pytest

from shared.events import AgentJoined
from tests.support.eventually import eventually
from tests.worker.cluster import Cluster
from tests.worker.scripts import script
from tests.worker.test_agent import is_alive


@pytest.mark.slow
@pytest.mark.parametrize("with_parent", [False, True], ids=["the agent", "the agent and the warm parent"])
async def test_kill_9_leaves_no_rank_and_no_worker_of_its_data_loader(tm: Cluster, *, with_parent: bool) -> None:
    """Workers of torch's DataLoader see for themselves that their rank is gone, where nobody is left to end them."""
    body = """
import multiprocessing
import torch.utils.data as data

class Endless(data.IterableDataset):
    def __iter__(self):
        while True:
            yield 0

batches = iter(data.DataLoader(Endless(), num_workers=2))
next(batches)
print("pids", os.getppid(), os.getpid(), *[child.pid for child in multiprocessing.active_children()])
for _ in batches:
    time.sleep(0.01)
"""
    await tm.submit(script(body), entrypoint="[python, -B, main.py]")
    process = await asyncio.create_subprocess_exec(
        *tm.light_agent(), env=tm.environment(), stdout=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    await tm.allocate()
    _, _, line = await tm.wait_for_line("pids", timeout_s=60)
    parent, *others = [int(word) for word in line.split()[1:]]
    assert len(others) == 3
    if with_parent:
        os.kill(parent, signal.SIGKILL)
    process.kill()
    await process.wait()
    await eventually(lambda: not any(map(is_alive, [parent, *others])), timeout_s=15)
    async with tm.agent():
        await tm.wait_for(AgentJoined, 2)


@pytest.mark.parametrize("with_parent", [False, True], ids=["the agent", "the agent and the warm parent"])
async def test_what_ranks_have_started_ends_with_the_warm_parent_or_before_the_next_agent_joins(
    tm: Cluster, *, with_parent: bool
) -> None:
    """Programs and forks in sessions of their own, which no signal to the rank's group reaches."""
    body = """
import subprocess
program = subprocess.Popen(["sleep", "600"], start_new_session=True)
fork = os.fork()
if fork == 0:
    os.setsid()
    signal.pause()
print("pids", os.getppid(), os.getpid(), program.pid, fork)
signal.pause()
"""
    await tm.submit(script(body), entrypoint="[python, -B, main.py]")
    process = await asyncio.create_subprocess_exec(
        *tm.light_agent(), env=tm.environment(), stdout=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    await tm.allocate()
    _, _, line = await tm.wait_for_line("pids", timeout_s=60)
    pids = [int(word) for word in line.split()[1:]]
    if with_parent:
        os.kill(pids[0], signal.SIGKILL)
    process.kill()
    await process.wait()
    if with_parent:
        await eventually(lambda: not any(map(is_alive, pids[:2])), timeout_s=15)
        assert all(map(is_alive, pids[2:])), "the test would not see what it is about"
    else:
        await eventually(lambda: not any(map(is_alive, pids)), timeout_s=15)
    async with tm.agent():
        await tm.wait_for(AgentJoined, 2)
        assert not any(map(is_alive, pids))


async def test_processes_of_an_agent_that_lives_are_left_alone(tm: Cluster) -> None:
    body = """
import subprocess
program = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("pid", program.pid)
hear("stop")
program.kill()
"""
    await tm.submit(script(body))
    async with tm.agent():
        await tm.allocate()
        _, _, line = await tm.wait_for_line("pid")
        second = await asyncio.create_subprocess_exec(
            *tm.light_agent(), env=tm.environment(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await second.communicate()
        assert second.returncode == 1 and b"another agent" in said
        assert is_alive(int(line.split()[1]))
