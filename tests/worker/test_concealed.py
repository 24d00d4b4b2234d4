"""What a rank can see of its agent, as whose user it runs."""

import asyncio
import ctypes

from tests.worker.cluster import Cluster
from tests.worker.scripts import script

_PR_CAPBSET_DROP = 24
_NUM_CAPABILITIES = 64  # more than there are


def like_any_user() -> None:
    """Let a program of root's see of root's processes what any user's would see of that user's."""
    for capability in range(_NUM_CAPABILITIES):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


async def test_a_rank_sees_nothing_of_its_agents_credentials_and_all_of_its_own_children(tm: Cluster) -> None:
    body = """
import subprocess

def environment(pid):
    try:
        return open(f"/proc/{pid}/environ").read()
    except PermissionError:
        return "kept from us"

def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])

agent = parent(os.getppid())
child = subprocess.Popen(["sleep", "600"], env={"MINE": "x"})
print("agent", b"-c" in open(f"/proc/{agent}/cmdline", "rb").read().split(b"\\0"), environment(agent))
print("parent", "TM_S3_SECRET_KEY" in environment(os.getppid()), "PATH=" in environment(os.getppid()))
while not (told := environment(child.pid)):  # a program has none for a moment, as it takes the place of ours
    pass
print("child", told)
child.kill()
say("bye", outcome="completed", step=0)
"""
    await tm.submit(script(body))
    process = await asyncio.create_subprocess_exec(
        *tm.light_agent(),
        env=tm.environment(),
        stdout=asyncio.subprocess.DEVNULL,
        preexec_fn=like_any_user,
    )
    try:
        await tm.allocate()
        assert (await tm.wait_for_line("agent"))[2] == "agent True kept from us"
        assert (await tm.wait_for_line("parent"))[2] == "parent False True"
        assert (await tm.wait_for_line("child"))[2] == "child MINE=x\0"
    finally:
        process.terminate()
        await process.wait()
