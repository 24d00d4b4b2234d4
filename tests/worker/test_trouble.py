"""What goes wrong in one trial, on its machine or on the way to the object store, ends that trial and nothing else."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from services.worker import patience, service, share, unfinished
from services.worker.allocation import Allocation
from services.worker.endings import Ending
from services.worker.failures import ending_after
from services.worker.outbox import Outbox
from services.worker.parent import CannotSpawn, ParentDied
from services.worker.patience import Patience
from services.worker.uploads import Uploads, Written
from shared import objectstore
from shared.errors import Refused, Rejected
from shared.events import (
    AgentJoined,
    AgentLeft,
    CheckpointDeletionRequested,
    CheckpointFile,
    CheckpointSaved,
    GangMember,
    GPUAllocated,
    Outcome,
    TrialExited,
    TrialPreempted,
)
from shared.ids import AllocationId, CheckpointId, ExperimentId, TrialId, checkpoint_id
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.support.eventually import eventually
from tests.support.fixtures import on_each_store
from tests.worker.cluster import AGENT, Cluster
from tests.worker.forwarder import Forwarder
from tests.worker.scripts import script
from tests.worker.test_agent import is_alive

ALLOCATION = AllocationId("e-1-a1")
SAVED = CheckpointSaved(
    trial_id=TrialId("e-1"), experiment_id=ExperimentId("e"), allocation_id=ALLOCATION, epoch=1,
    agent_id=AGENT, checkpoint_id=CheckpointId("e-1-a1-s4"), step=4, world_size=1, zero_stage=None, files=(),
)  # fmt: skip


SAVES_WHEN_TOLD = """
print("up", os.getpid())
while not os.path.exists("{told}"):
    time.sleep(0.01)
save(4, weights="w")
say("bye", outcome="completed", step=4)
"""


@contextlib.asynccontextmanager
async def saving_while_cut(tm: Cluster, way: Forwarder, told: Path) -> AsyncIterator[AllocationId]:
    """A trial that has ended well, and whose checkpoint cannot be stored yet."""
    await tm.submit(script(SAVES_WHEN_TOLD.format(told=told)))
    async with tm.agent(s3=replace(tm.s3, endpoint=await way.open())):
        allocation_id = await tm.allocate()
        _, _, line = await tm.wait_for_line("up")
        way.cut()
        told.touch()
        await tm.wait_for_line("waiting for the object store since")
        await eventually(lambda: not is_alive(int(line.split()[1])))
        yield allocation_id


async def test_a_trial_has_not_completed_before_its_last_checkpoint_is_stored(
    tm: Cluster, way: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SAY_AFTER_S", 0.0)
    monkeypatch.setattr(share, "UPLOAD_GRACE_S", 0.1)
    async with saving_while_cut(tm, way, tmp_path / "told"):
        with pytest.raises(AssertionError, match="no TrialExited"):
            await tm.wait_for(TrialExited, timeout_s=1)
        await way.open()
        exited = await tm.wait_for(TrialExited)
    assert exited.outcome is Outcome.COMPLETED
    assert tm.recorded_of(CheckpointSaved).seq < tm.recorded_of(TrialExited).seq
    await tm.wait_for_line("the object store answers again")


async def killed_while_cut(tm: Cluster, way: Forwarder, told: Path) -> AllocationId:
    """Have an agent killed whose trial has written a checkpoint that cannot be stored; return the allocation."""
    body = f"""
if welcome["resume"]:
    print("resumed", welcome["resume"]["step"], open(os.path.join(welcome["resume"]["directory"], "weights")).read())
    say("bye", outcome="completed", step=5)
    sys.exit()
print("up")
while not os.path.exists("{told}"):
    time.sleep(0.01)
save(4, weights="w4", more="m4")
signal.pause()
"""
    await tm.submit(script(body))
    environment = tm.environment() | {"TM_S3_ENDPOINT": await way.open()}
    process = await asyncio.create_subprocess_exec(
        *tm.light_agent(), env=environment, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    first = await tm.allocate()
    await tm.wait_for_line("up")
    way.cut()
    told.touch()
    notes = tm.directory / AGENT / first / "unfinished"
    await eventually(lambda: list(notes.glob("*.json")))
    process.kill()
    await process.wait()
    assert not tm.events(CheckpointSaved)
    return first


async def test_a_checkpoint_that_was_written_when_the_agent_was_killed_is_stored_by_the_next(
    tm: Cluster, way: Forwarder, tmp_path: Path
) -> None:
    first = await killed_while_cut(tm, way, tmp_path / "told")
    notes = tm.directory / AGENT / first / "unfinished"
    async with tm.agent():
        saved = await tm.wait_for(CheckpointSaved)
        assert (saved.allocation_id, saved.epoch, saved.step) == (first, 1, 4)
        assert [file.path for file in saved.files] == ["more", "weights"]
        await tm.wait_for(AgentJoined, 2)
        assert tm.recorded_of(CheckpointSaved).seq < tm.recorded_of(AgentJoined).seq
        assert not notes.parent.exists()
        await tm.release(first)
        await tm.allocate()
        await tm.wait_for_line("resumed 4 w4")
    async with tm.agent():  # what is on the log is not said again
        await tm.wait_for(AgentJoined, 3)
    assert len(tm.events(CheckpointSaved)) == 1


async def test_a_checkpoint_that_an_agent_cannot_store_before_it_must_end_is_stored_by_the_next(
    tm: Cluster, way: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SAY_AFTER_S", 0.0)
    monkeypatch.setattr(service, "FAREWELL_S", 0.1)
    told = tmp_path / "told"
    await tm.submit(script(SAVES_WHEN_TOLD.format(told=told)))
    async with tm.agent(s3=replace(tm.s3, endpoint=await way.open()), stop_grace_s=0.1):
        first = await tm.allocate()
        await tm.wait_for_line("up")
        way.cut()
        told.touch()
        await tm.wait_for_line("waiting for the object store since")
    assert not tm.events(CheckpointSaved) and not tm.events(AgentLeft)
    async with tm.agent():
        saved = await tm.wait_for(CheckpointSaved)
        assert (saved.allocation_id, saved.step, [file.path for file in saved.files]) == (first, 4, ["weights"])
        await tm.wait_for(AgentJoined, 2)
        assert tm.recorded_of(CheckpointSaved).seq < tm.recorded_of(AgentJoined).seq
        assert not (tm.directory / AGENT / first).exists()


async def test_a_checkpoint_that_was_given_up_is_not_finished(tm: Cluster, way: Forwarder, tmp_path: Path) -> None:
    """Some of the files that its note counts on may be gone."""
    first = await killed_while_cut(tm, way, tmp_path / "told")
    about = tm.recorded_of(GPUAllocated).event
    assert isinstance(about, GPUAllocated)
    given_up = CheckpointDeletionRequested(
        checkpoint_id=checkpoint_id(first, 4), trial_id=about.trial_id, experiment_id=about.experiment_id, reason="old"
    )
    await tm.say("gateway", given_up)
    async with tm.agent():
        await tm.wait_for(AgentJoined, 2)
        assert not (tm.directory / AGENT / first).exists()
    assert not tm.events(CheckpointSaved)


@on_each_store
async def test_files_that_were_stored_are_not_stored_again(store: S3Settings, tmp_path: Path) -> None:
    objects, notes = ObjectStore(store), unfinished.Notes(tmp_path)
    written = tmp_path / "written"
    written.mkdir()
    for name in ("a", "b"):
        (written / name).write_text(name)
    notes.write(unfinished.Note(saved=SAVED, directory=str(written), cause=1))
    files = await unfinished.upload(objects, notes, SAVED, written, Patience(print))
    assert sorted(notes.stored(4), key=lambda file: file.path) == list(files)
    with (tmp_path / "unfinished" / "4.stored").open("ab") as stored:
        stored.write(b'{"path": "half a li')
    key = objectstore.checkpoint_key(SAVED.checkpoint_id, "a")
    await objects.put(key, b"untouched")
    assert await unfinished.upload(objects, notes, SAVED, written, Patience(print)) == files
    assert await objects.get(key) == b"untouched"
    notes.remove(4)
    assert not notes.read() and not notes.stored(4)


async def test_what_a_power_cut_has_damaged_is_set_aside_and_said(
    tm: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes = unfinished.Notes(tm.directory / AGENT / "e-1-a1")
    folder = tm.directory / AGENT / "e-1-a1" / "unfinished"
    folder.mkdir(parents=True)
    whole = unfinished.Note(saved=SAVED, directory=str(tmp_path / "gone"), cause=1)
    notes.write(whole)
    for broken in (b"", b"\0" * 200, b'{"directory": "/x", "cause": 1}', b'{"saved'):
        (folder / "5.json").write_bytes(broken)
        assert notes.read() == [whole]
        assert "cannot be read" in caplog.text
        caplog.clear()
        (folder / "5.unreadable").rename(folder / "5.json")
    notes.add_stored(4, CheckpointFile(path="a", size_bytes=1, sha256="0"))
    with (folder / "4.stored").open("ab") as stored:
        stored.write(b"\0\0\0\n")
    assert [file.path for file in notes.stored(4)] == ["a"]
    async with tm.agent():
        await tm.wait_for(AgentJoined)
    assert not folder.exists()


async def test_a_note_that_nobody_can_follow_keeps_neither_the_agent_nor_other_notes_waiting(
    tm: Cluster, tmp_path: Path
) -> None:
    folders = [tm.directory / AGENT / f"e-{number}-a1" for number in (1, 2)]
    (tmp_path / "written").mkdir()
    (tmp_path / "written" / "weights").write_text("w")
    for folder, directory in zip(folders, ("a\0b", str(tmp_path / "written")), strict=True):
        (folder / "unfinished").mkdir(parents=True)
        (folder / "unfinished" / "4.json").write_bytes(
            msgspec.json.encode(
                unfinished.Note(
                    saved=msgspec.structs.replace(SAVED, trial_id=TrialId(folder.name.removesuffix("-a1"))),
                    directory=directory,
                    cause=1,
                )
            )
        )
    async with tm.agent():
        assert (await tm.wait_for(CheckpointSaved)).trial_id == "e-2"
        await tm.wait_for(AgentJoined)
    assert not any(folder.exists() for folder in folders)


async def test_no_note_tells_of_a_checkpoint_before_what_was_validated_by_then_is_on_the_log(
    tm: Cluster, tmp_path: Path
) -> None:
    allocation = Allocation(
        allocation_id=SAVED.allocation_id, trial_id=SAVED.trial_id, experiment_id=SAVED.experiment_id, epoch=1, seq=1,
        members=(GangMember(agent_id=AGENT, incarnation="i", slots=(0,)),), experiment=None, trial=None,
    )  # fmt: skip
    notes, written = unfinished.Notes(tmp_path), tmp_path / "written"
    written.mkdir()
    outbox = Outbox(tm.client, "worker-a1")
    uploads = Uploads(allocation, agent_id=AGENT, store=tm.store, outbox=outbox, notes=notes)
    validation: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    what = Written(step=4, directory=written, zero_stage=None, cause=1)
    adding = asyncio.create_task(uploads.add(what, {validation}))
    await eventually(lambda: uploads.are_pending)
    await asyncio.wait([adding], timeout=0.2)
    assert not notes.read() and not adding.done()
    validation.set_result(7)
    await adding
    assert [note.saved.step for note in notes.read()] == [4]


async def test_a_trial_whose_last_checkpoint_is_given_up_for_a_stop_has_not_completed(
    tm: Cluster, way: Forwarder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SAY_AFTER_S", 0.0)
    monkeypatch.setattr(share, "UPLOAD_GRACE_S", 0.1)
    async with saving_while_cut(tm, way, tmp_path / "told") as allocation_id:
        await tm.preempt(allocation_id, timeout_s=0.1)
        assert (await tm.wait_for(TrialPreempted)).step is None
    assert not tm.events(CheckpointSaved) and not tm.events(TrialExited)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('say("checkpoint", step=1, directory="a\\0b")', "is no path: embedded null byte"),
        ('os.symlink("loop", "loop")\nsay("checkpoint", step=1, directory=os.path.abspath("loop"))', "is no path: "),
        ('save(1, **{os.fsdecode(b"w-\\xff"): "w"})', "is not UTF-8"),
        (
            'say("validation", step=1, metrics={chr(0x1F600) * 250 + str(n): 1.0 for n in range(1000)})',
            "a validation cannot be reported: MetricReported would have",
        ),
    ],
)
async def test_what_a_rank_reports_wrongly_fails_its_trial_only(tm: Cluster, body: str, reason: str) -> None:
    await tm.submit(script(body + "\nsignal.pause()"))
    async with tm.agent():
        for attempt in (1, 2):
            allocation_id = await tm.allocate()
            exited = await tm.wait_for(TrialExited, attempt)
            assert exited.outcome is Outcome.FAILED and reason in (exited.error or "")
            await tm.release(allocation_id)


async def test_the_unforeseen_ends_one_trial_and_its_ranks(tm: Cluster) -> None:
    files = script("")
    files["main.py"] = 'import os\nprint("up", os.getpid())\n' + files["main.py"]
    await tm.submit(files, hyperparameters={"lr": datetime.now(UTC)})  # no rank can be told that
    async with tm.agent():
        for attempt in (1, 2):
            allocation_id = await tm.allocate()
            exited = await tm.wait_for(TrialExited, attempt)
            assert exited.outcome is Outcome.FAILED
            assert (exited.error or "").startswith("the agent could not go on with this trial: TypeError: ")
            await tm.release(allocation_id)
        await tm.caught_up()
        pids = [int(line[2].split()[1]) for line in tm.lines if line[2].startswith("up")]
        assert len(pids) == 2 and not any(map(is_alive, pids))
        assert [line[1] for line in tm.lines if "TypeError" in line[2]] == ["agent", "agent"]


async def test_slots_that_the_agent_does_not_have_are_no_reason_to_end(tm: Cluster) -> None:
    await tm.submit(script(""))
    async with tm.agent():
        first = await tm.allocate((AGENT, (7,)))
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.FAILED
        await tm.release(first)
        await tm.allocate()
        assert (await tm.wait_for(TrialExited, 2)).outcome is Outcome.COMPLETED


async def test_a_port_that_cannot_be_had_interrupts_the_trial(tm: Cluster) -> None:
    await tm.submit(script(""), slots=2)
    async with tm.agent(address="192.0.2.1"):
        await tm.allocate((AGENT, (0, 1)))
        exited = await tm.wait_for(TrialExited)
    assert exited.outcome is Outcome.INTERRUPTED and "Cannot assign requested address" in (exited.error or "")


async def test_code_that_the_object_store_refuses_fails_the_start(tm: Cluster, refusing_s3: S3Settings) -> None:
    await tm.submit(script(""))
    async with tm.agent(s3=refusing_s3):
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert exited.outcome is Outcome.FAILED and "refused" in (exited.error or "")


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (FULL, Ending(outcome=Outcome.INTERRUPTED, error=str(FULL))),
        (ExceptionGroup("", [ExceptionGroup("", [FULL])]), Ending(outcome=Outcome.INTERRUPTED, error=str(FULL))),
        (ParentDied("it died"), Ending(outcome=Outcome.INTERRUPTED, error="it died")),
        (CannotSpawn("too long"), Ending(outcome=Outcome.FAILED, error="too long")),
        (ExceptionGroup("", [Rejected("no code")]), Ending(outcome=Outcome.FAILED, error="no code")),
        (Refused("no permission"), Ending(outcome=Outcome.FAILED, error="no permission")),
        (
            ValueError("what?"),
            Ending(outcome=Outcome.FAILED, error="the agent could not go on with this trial: ValueError: what?"),
        ),
    ],
)
def test_what_a_trial_ends_as_follows_from_whose_fault_it_is(error: Exception, ending: Ending) -> None:
    assert ending_after(error, ALLOCATION) == ending
