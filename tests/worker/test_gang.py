"""Gangs over two agents. Their ranks do not meet: the store that they would meet in has its own test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from services.worker import share
from shared.events import (
    AgentLeaving,
    AgentLeft,
    AgentLost,
    CheckpointSaved,
    CheckpointShardUploaded,
    GangMemberExited,
    Outcome,
    PreemptionReason,
    RendezvousOpened,
    TrialExited,
    TrialPreempted,
    TrialStarted,
)
from shared.ids import AgentId
from tests.support.eventually import PATIENCE_S, eventually
from tests.worker.cluster import AGENT, POOL, Cluster
from tests.worker.forwarder import Forwarder
from tests.worker.scripts import script

OTHER = AgentId("a2")
GANG = ((AGENT, (0,)), (OTHER, (1, 0)))


@pytest.fixture
async def two(tm: Cluster) -> AsyncIterator[Cluster]:
    """A cluster with two agents."""
    async with AsyncExitStack() as stack:
        for agent_id in (AGENT, OTHER):
            await stack.enter_async_context(tm.agent(agent_id))
        yield tm


async def test_ranks_are_numbered_over_the_gang_and_one_speaks_for_all(two: Cluster) -> None:
    body = 'names = ("LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")\nprint([os.environ[name] for name in names])\n'
    await two.submit(script(body), slots=3)
    await two.allocate(*GANG)
    exited = await two.wait_for(TrialExited)
    member = await two.wait_for(GangMemberExited)
    assert (exited.agent_id, exited.outcome) == (AGENT, Outcome.COMPLETED)
    assert (member.agent_id, member.outcome) == (OTHER, Outcome.COMPLETED)
    assert [(event.agent_id, event.world_size) for event in two.events(TrialStarted)] == [(AGENT, 3)]
    await two.caught_up()
    printed = sorted((rank, text) for rank, stream, text in two.lines if stream == "stdout")
    assert printed == [(0, "['0', '3', '1']"), (1, "['0', '3', '2']"), (2, "['1', '3', '2']")]
    assert two.recorded_of(GangMemberExited).seq in two.recorded_of(TrialExited).envelope.causes


async def test_a_rank_that_fails_on_another_agent_is_the_cause(two: Cluster) -> None:
    await two.submit(script('if RANK == 2: raise RuntimeError("rank two is the culprit")\nsignal.pause()'), slots=3)
    await two.allocate(*GANG)
    exited = await two.wait_for(TrialExited)
    assert (exited.outcome, exited.exit_code) == (Outcome.FAILED, 1)
    assert exited.error is not None
    assert exited.error.startswith("agent a2: rank 2 exited with code 1")
    assert exited.error.endswith("RuntimeError: rank two is the culprit")


async def test_when_the_chiefs_rank_fails_the_others_are_killed(two: Cluster) -> None:
    await two.submit(script('if RANK == 0: sys.exit("rank zero is the culprit")\nsignal.pause()'), slots=3)
    await two.allocate(*GANG)
    exited = await two.wait_for(TrialExited)
    assert exited.error == "rank 0 exited with code 1\nrank zero is the culprit"
    assert two.events(GangMemberExited)[0].outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("failing", [AGENT, OTHER])
async def test_ranks_on_other_agents_do_not_wait_for_what_a_failed_rank_wrote_last(
    tm: Cluster, way: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: AgentId
) -> None:
    monkeypatch.setattr(share, "GANG_UPLOAD_GRACE_S", 0.1)
    assert share.UPLOAD_GRACE_S > PATIENCE_S
    told = tmp_path / "told"
    body = f"""
print("up")
while RANK != {0 if failing == AGENT else 1} or not os.path.exists("{told}"):
    time.sleep(0.01)
save(3, weights="w")
sys.exit("the culprit")
"""
    await tm.submit(script(body), slots=2)
    cut = replace(tm.s3, endpoint=await way.open())
    async with AsyncExitStack() as stack:
        for agent_id in (AGENT, OTHER):
            await stack.enter_async_context(tm.agent(agent_id, s3=cut if agent_id == failing else tm.s3))
        await tm.allocate((AGENT, (0,)), (OTHER, (0,)))
        await eventually(lambda: [line[2] for line in tm.lines].count("up") == 2)
        way.cut()
        told.touch()
        exited = await tm.wait_for(TrialExited)
    assert exited.outcome is Outcome.FAILED and (exited.error or "").endswith("the culprit")
    await tm.wait_for_line("the ranks' last words or checkpoint could not be stored")


async def test_a_chief_that_cannot_prepare_does_not_leave_the_others_waiting(two: Cluster) -> None:
    await two.submit(script("signal.pause()"), slots=3, store_code=False)
    await two.allocate(*GANG)
    exited = await two.wait_for(TrialExited)
    assert exited.outcome is Outcome.FAILED and "is not in the object store" in (exited.error or "")
    assert len(two.events(RendezvousOpened)) == len(two.events(GangMemberExited)) == 1


async def test_a_checkpoint_is_whole_when_every_agent_has_stored_its_part(two: Cluster) -> None:
    body = """
if os.environ["LOCAL_RANK"] == "0":
    save(3, **{f"shard-{RANK}": f"of rank {RANK}"})
    hear("checkpoint_stored")
say("bye", outcome="completed", step=3)
"""
    await two.submit(script(body), slots=3)
    await two.allocate(*GANG)
    assert (await two.wait_for(TrialExited)).outcome is Outcome.COMPLETED
    (shard,), (saved,) = two.events(CheckpointShardUploaded), two.events(CheckpointSaved)
    assert [file.path for file in shard.files] == ["shard-1"]
    assert ([file.path for file in saved.files], saved.world_size) == (["shard-0", "shard-1"], 3)


async def test_a_checkpoint_that_another_agent_never_writes_fails_the_trial(two: Cluster) -> None:
    await two.submit(script('if RANK == 0: save(3, weights="w")\nsay("bye", outcome="completed", step=3)'), slots=3)
    await two.allocate(*GANG)
    exited = await two.wait_for(TrialExited)
    assert exited.outcome is Outcome.FAILED
    assert exited.error is not None and "the ranks on a2 ended without writing their part of it" in exited.error


async def test_a_chief_that_cannot_open_the_rendezvous_interrupts_the_gang(tm: Cluster) -> None:
    await tm.submit(script("signal.pause()"), slots=3)
    async with tm.agent(AGENT, address="192.0.2.1"), tm.agent(OTHER):
        await tm.allocate(*GANG)
        exited = await tm.wait_for(TrialExited)
        assert exited.outcome is Outcome.INTERRUPTED and "Cannot assign requested address" in (exited.error or "")
        assert (await tm.wait_for(GangMemberExited)).outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("leaving", [AGENT, OTHER])
async def test_a_gang_saves_and_stops_when_one_of_its_agents_is_told_to_end(tm: Cluster, leaving: AgentId) -> None:
    body = """
print("training")
hear("stop")
if os.environ["LOCAL_RANK"] == "0":
    save(9, **{f"shard-{RANK}": "w9"})
    hear("checkpoint_stored")
say("bye", outcome="preempted", step=9)
"""
    await tm.submit(script(body), slots=3)
    async with AsyncExitStack() as stack:
        running = {agent_id: await stack.enter_async_context(tm.agent(agent_id)) for agent_id in (AGENT, OTHER)}
        gang = await tm.allocate(*GANG)
        await eventually(lambda: len([line for line in tm.lines if line[2] == "training"]) == 3)
        running[leaving].cancel()
        await tm.wait_for(AgentLeaving)
        await tm.preempt(gang, reason=PreemptionReason.LEAVING)  # as the scheduler does
        assert (await tm.wait_for(TrialPreempted)).step == 9
        assert (await tm.wait_for(CheckpointSaved)).world_size == 3
        assert (await tm.wait_for(GangMemberExited)).outcome is Outcome.PREEMPTED
        await tm.wait_for(AgentLeft)


async def test_a_gang_that_loses_an_agent_ends_as_preempted(tm: Cluster) -> None:
    await tm.submit(script('print("up")\nsignal.pause()'), slots=3)
    async with tm.agent(AGENT):
        process = await asyncio.create_subprocess_exec(
            *tm.light_agent(), env=tm.environment(OTHER), stdout=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        joined = await tm.joined(OTHER)
        await tm.allocate(*GANG)
        await tm.wait_for_line("up")
        process.kill()
        await process.wait()
        lost = AgentLost(pool_id=POOL, agent_id=OTHER, incarnation=joined.incarnation, silent_s=11.0)
        seq = await tm.say("scheduler", lost)
        assert (await tm.wait_for(TrialPreempted)).step is None
    assert seq in tm.recorded_of(TrialPreempted).envelope.causes
