"""Nobody outlives an agent that is killed, whoever is left to see to it."""

import asyncio
import contextlib
import os
import signal

import pytest

from services.worker import workspace
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


@pytest.mark.parametrize("place", ["link", "long" * 25])
async def test_what_ranks_have_started_is_found_over_a_link_and_where_no_socket_has_room(
    tm: Cluster, place: str
) -> None:
    directory, body = (
        tm.directory / place,
        """
import subprocess
program = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("pids", os.getppid(), os.getpid(), program.pid)
signal.pause()
""",
    )
    if place == "link":
        (tm.directory / "real").mkdir()
        directory.symlink_to(tm.directory / "real")
    await tm.submit(script(body))
    process = await asyncio.create_subprocess_exec(
        *tm.light_agent(),
        env=tm.environment() | {"TM_WORK_DIR": str(directory)},
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    await tm.allocate()
    _, _, line = await tm.wait_for_line("pids")
    *ranks, program = [int(word) for word in line.split()[1:]]
    os.kill(ranks[0], signal.SIGKILL)
    process.kill()
    await process.wait()
    await eventually(lambda: not any(map(is_alive, ranks)))
    assert is_alive(program), "the test would not see what it is about"
    os.close(await asyncio.to_thread(workspace.lock, directory))
    try:
        await eventually(lambda: not is_alive(program))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program, signal.SIGKILL)


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
