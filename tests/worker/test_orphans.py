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
