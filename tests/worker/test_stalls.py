"""Ranks that hang, ranks that want too much memory, and what they leave behind: real processes under a real agent."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from services.worker.stalls import Watch
from shared.events import FailureCause, MetricReported, Outcome, TrialExited, TrialStarted
from shared.ids import AgentId
from tests.support.eventually import PATIENCE_S, eventually
from tests.worker.cluster import AGENT, Cluster
from tests.worker.forwarder import Forwarder
from tests.worker.scripts import script

OTHER = AgentId("a2")
REPOSITORY = Path(__file__).parents[2]
STALL_S = 3  # many times what a rank on a busy machine may be late with its sign of life


def with_sdk(body: str) -> dict[str, str]:
    """A script that uses the SDK, which its code directory does not hold."""
    return {"main.py": f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\nimport trainmaster as tm\n{body}"}


HANGS = """
import threading, os
with tm.trial() as trial:
    for step in trial.steps():
        if step == 3 and trial.rank == 1:
            def wait_for_nobody():
                threading.Event().wait()
            wait_for_nobody()
        elif step == 3:
            def wait_for_the_other():
                threading.Event().wait()
            wait_for_the_other()
"""


async def test_a_hang_is_told_with_the_stacks_of_all_ranks_and_counts_as_a_failure(tm: Cluster) -> None:
    await tm.submit(with_sdk(HANGS), slots=2, more="stall_timeout: 5")
    async with tm.agent():
        await tm.allocate((AGENT, (0, 1)))
        exited = await tm.wait_for(TrialExited)
    assert (exited.outcome, exited.cause) == (Outcome.FAILED, FailureCause.STALLED)
    assert exited.error is not None
    assert exited.error.startswith("ranks 0, 1 hung: no step, no report and no heartbeat for 5 s (stall_timeout)")
    assert exited.error.splitlines()[-1] == exited.error.splitlines()[0]
    assert "wait_for_the_other" in exited.error
    assert (await tm.wait_for_line("in wait_for_nobody"))[:2] == (1, "stderr")
    assert (await tm.wait_for_line("in wait_for_the_other"))[:2] == (0, "stderr")


async def test_heartbeats_keep_a_trial_that_takes_its_time(tm: Cluster) -> None:
    body = """
import time
with tm.trial() as trial:
    for step in trial.steps():
        for _ in range(45 if step == 2 else 0):
            time.sleep(0.1)
            trial.heartbeat()
"""
    await tm.submit(with_sdk(body), more=f"stall_timeout: {STALL_S}", max_batches=3)
    async with tm.agent():
        await tm.allocate()
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.COMPLETED


async def test_a_script_that_does_not_talk_is_not_watched(tm: Cluster) -> None:
    body = f"import time\ntime.sleep({STALL_S + 0.5})\nprint('slept')"
    await tm.submit({"main.py": body}, more=f"stall_timeout: {STALL_S}")
    async with tm.agent():
        await tm.allocate()
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.COMPLETED


async def test_ranks_that_have_ended_or_wait_for_one_that_works_have_not_hung(tm: Cluster) -> None:
    body = """
import os, time
with tm.trial() as trial:
    steps = trial.steps()
    next(steps)
    if trial.rank == 0:
        for _ in range(45):
            time.sleep(0.1)
            trial.heartbeat()
        open("done", "w").close()
    while trial.rank == 1 and not os.path.exists("done"):
        time.sleep(0.05)
if trial.rank == 2:  # long work after the farewell
    while not os.path.exists("done"):
        time.sleep(0.05)
"""
    await tm.submit(with_sdk(body), slots=4, more=f"stall_timeout: {STALL_S}")
    async with tm.agent(num_slots=4):
        await tm.allocate((AGENT, (0, 1, 2, 3)))
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.COMPLETED


async def test_ranks_have_hung_when_all_that_are_left_are_silent() -> None:
    now = 0.0
    watch = Watch(10, clock=lambda: now)
    waiting = asyncio.create_task(watch.wait())
    assert watch.overdue() == []
    for rank in range(3):
        watch.greeted(rank)
    now = 6.0
    watch.heard(1)
    now = 10.0
    assert watch.overdue() == [], "rank 1 may be what the others wait for"
    watch.parted(2)
    watch.heard(2)  # read late
    assert watch.ranks == [0, 1]
    now = 16.0
    assert watch.overdue() == [0, 1]
    watch.excuse()  # they waited for the store
    assert watch.overdue() == []
    now = 26.0
    assert watch.overdue() == [0, 1]
    watch.ended(0)
    watch.ended(1)
    assert watch.overdue() == []
    waiting.cancel()


async def test_ranks_have_longer_until_one_of_them_has_said_more_than_hello() -> None:
    now = 0.0
    watch = Watch(10, start_timeout_s=3600, clock=lambda: now)
    waiting = asyncio.create_task(watch.wait())
    watch.greeted(0)
    watch.greeted(1)
    await asyncio.sleep(0)  # it waits for an hour
    now = 3599.0
    assert watch.overdue() == []
    watch.excuse()
    now = 7199.0
    assert watch.overdue() == [0, 1]
    watch.heard(1)
    now = 7208.0
    assert watch.overdue() == []
    now = 7209.0
    assert watch.overdue() == [0, 1]
    await asyncio.wait_for(waiting, PATIENCE_S)
    assert Watch(10, start_timeout_s=5).limit_s == 10


def test_who_is_held_up_is_known_until_nobody_is() -> None:
    watch = Watch(10)
    with watch.holding_up():
        with watch.holding_up():
            assert watch.are_held_up
        assert watch.are_held_up
    assert not watch.are_held_up


async def test_what_waits_for_the_broker_to_take_its_word_has_not_hung(
    tm: Cluster, way: Forwarder, tmp_path: Path
) -> None:
    """The broker goes before it has the trial's start, so that the first validation waits, and all that is said behind
    it is not read."""
    alive = tmp_path / "alive"
    body = f"""
say("validation", step=1, metrics={{"loss": 0.5}})
for beat in range(60):  # judged, and failed, long before
    say("progress", step=1)
    time.sleep(0.1)
open("{alive}", "w").close()
say("bye", outcome="completed", step=1)
"""
    await tm.submit(script(body), more="stall_timeout: 2")
    async with tm.agent(s3=replace(tm.s3, endpoint=await way.open())):
        way.cut()
        await tm.allocate()
        await eventually(lambda: list((tm.directory / AGENT).glob("exp-1-*")))
        tm.nats.server.kill()
        await way.open()
        try:
            await eventually(alive.exists)
        finally:
            tm.nats.server.start()
        exited = await tm.wait_for(TrialExited)
    assert (exited.outcome, exited.error) == (Outcome.COMPLETED, None)
    assert [event.step for event in tm.events(MetricReported)] == [1]


async def test_ranks_that_wait_for_an_agent_that_still_prepares_have_not_hung(
    tm: Cluster, way: Forwarder, tmp_path: Path
) -> None:
    waited = tmp_path / "waited"
    body = f"""
if RANK == 0:
    time.sleep(5)  # judged, and failed, long before
    open("{waited}", "w").close()
    while not os.path.exists("{tmp_path}/met"):
        time.sleep(0.01)
else:
    open("{tmp_path}/met", "w").close()
say("bye", outcome="completed", step=1)
"""
    await tm.submit(script(body), slots=2, more="stall_timeout: 1")
    async with tm.agent(), tm.agent(OTHER, s3=replace(tm.s3, endpoint=await way.open())):
        way.cut()
        await tm.allocate((AGENT, (0,)), (OTHER, (0,)))
        await eventually(waited.exists)
        await way.open()
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.COMPLETED


def test_ranks_linger_when_nobody_has_anything_to_say_for_as_long_as_a_hang_takes() -> None:
    now = 0.0
    watch = Watch(10, clock=lambda: now)
    for rank in range(3):
        watch.heard(rank)
    watch.parted(0)
    now = 9.0
    watch.heard(2)
    now = 18.0
    assert watch.lingering() == watch.overdue() == [], "rank 2 works"
    watch.parted(1)
    watch.ended(2)
    watch.parted(2)  # read late
    now = 27.0
    assert watch.lingering() == []
    now = 28.0
    assert watch.lingering() == [0, 1] and watch.overdue() == []
    watch.ended(0)
    now = 37.0
    assert watch.lingering() == [], "the end of one may be what the other waited for"
    now = 38.0
    assert watch.lingering() == [1]
    watch.ended(1)
    assert watch.lingering() == []


LINGERS = """
import threading
with tm.trial() as trial:
    trial.report_validation(1, loss=0.5)
def wait_for_nobody():
    threading.Event().wait()
if trial.rank == 1:
    wait_for_nobody()
"""


async def test_a_rank_that_hangs_after_its_last_word_is_ended_and_what_was_said_counts(tm: Cluster) -> None:
    await tm.submit(with_sdk(LINGERS), slots=2, more=f"stall_timeout: {STALL_S}")
    async with tm.agent():
        await tm.allocate((AGENT, (0, 1)))
        exited = await tm.wait_for(TrialExited)
    assert (await tm.wait_for_line("in wait_for_nobody"))[:2] == (1, "stderr")
    assert (exited.outcome, exited.exit_code, exited.error) == (Outcome.COMPLETED, 0, None)
    said = (
        f"rank 1 did not end within {STALL_S} s (stall_timeout) after the last bye: killed; what was said before counts"
    )
    assert (0, "agent", said) in tm.lines


async def test_a_rank_that_has_become_another_program_after_its_last_word_is_ended(tm: Cluster) -> None:
    body = """
say("bye", outcome="completed", step=3)
connection.close()
os.execvp("sleep", ["sleep", "600"])
"""
    await tm.submit(script(body), more=f"stall_timeout: {STALL_S}")
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert (exited.outcome, exited.error) == (Outcome.COMPLETED, None)


@pytest.mark.parametrize("entrypoint", ["python main.py", "python -O main.py"])  # forked, and executed anew
async def test_memory_is_limited_and_the_lack_of_it_recognised(tm: Cluster, entrypoint: str) -> None:
    hungry = "print('began', flush=True)\nhoard = bytearray(600 * 2**20)\n"
    await tm.submit(
        {"main.py": hungry},
        entrypoint=entrypoint,
        more="checkpoint_policy: none",
        resources="slots_per_trial: 1, memory_mb_per_slot: 400",
    )
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
        assert await tm.wait_for_line("each process may hold 400 MiB of data (RLIMIT_DATA)")
    assert (exited.outcome, exited.cause) == (Outcome.FAILED, FailureCause.HOST_MEMORY)
    assert (exited.error or "").splitlines()[-2:] == ["MemoryError", "rank 0 ran out of host memory"]


@pytest.mark.parametrize(("more", "how"), [("", "forked"), ("environment: {warm_start: false}", "anew")])
async def test_a_new_interpreter_may_be_asked_for(tm: Cluster, more: str, how: str) -> None:
    body = "import sys\nprint('forked' if 'services.worker.zygote' in sys.orig_argv else 'anew')"
    await tm.submit({"main.py": body}, more=more)
    async with tm.agent():
        await tm.allocate()
        assert (await tm.wait_for(TrialStarted)).warm is (how == "forked")
        await tm.wait_for_line(how)


async def test_a_process_and_its_children_keep_to_the_processors_of_its_slot(tm: Cluster) -> None:
    body = "import os, subprocess\nprint(os.environ['OMP_NUM_THREADS'], subprocess.check_output('nproc').decode())"
    await tm.submit({"main.py": body}, resources="slots_per_trial: 1, cpus_per_slot: 1")
    async with tm.agent():
        await tm.allocate()
        assert (await tm.wait_for_line("1 1"))[2] == "1 1"
        assert await tm.wait_for_line("each rank runs on 1 of the agent's processors (affinity)")


async def test_temporary_files_are_a_trials_own_and_go_with_it(tm: Cluster) -> None:
    body = """
import tempfile
made = tempfile.mkstemp()[1]
open(made, "w").write("left behind")
print("made", made)
"""
    await tm.submit(script(body))
    async with tm.agent():
        await tm.allocate()
        _, _, line = await tm.wait_for_line("made ")
        await tm.wait_for(TrialExited)
        made = Path(line.split()[1])
        assert made.parent.name == "scratch" or made.parent.name.startswith("tm-scratch-")
        await eventually(lambda: not made.parent.exists())
