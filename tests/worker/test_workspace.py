"""The agent's directory: its lock, cached code, allocation directories."""

import asyncio
import fcntl
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.worker import leftovers, workspace
from services.worker.patience import Patience
from services.worker.unfinished import Note, Notes
from services.worker.workspace import Workspace
from shared import archive, objectstore
from shared.errors import Rejected
from shared.events import CheckpointSaved
from shared.ids import AgentId, AllocationId, CheckpointId, ExperimentId, TrialId
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.support.eventually import eventually

NUM_FILES = 3000  # which take longer than it takes to see the first

SAVED = CheckpointSaved(
    trial_id=TrialId("e-1"), experiment_id=ExperimentId("e"), allocation_id=AllocationId("e-1-a1"), epoch=1,
    agent_id=AgentId("a1"), checkpoint_id=CheckpointId("e-1-a1-s4"), step=4, world_size=1, zero_stage=None, files=(),
)  # fmt: skip


@pytest.fixture
def code(tmp_path: Path) -> bytes:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("print()")
    return archive.pack(tmp_path / "source")


def make(directory: Path, s3: S3Settings) -> Workspace:
    os.close(workspace.lock(directory))
    return Workspace(directory, ObjectStore(s3))


async def test_code_is_fetched_once_and_verified(s3: S3Settings, tmp_path: Path, code: bytes) -> None:
    sha256 = hashlib.sha256(code).hexdigest()
    store = ObjectStore(s3)
    await store.put(objectstore.code_key(sha256), code)
    space = make(tmp_path / "work", s3)
    await space.unpack_code(sha256, tmp_path / "first", Patience(print))
    await store.put(objectstore.code_key(sha256), b"changed")
    await space.unpack_code(sha256, tmp_path / "second", Patience(print))
    assert (tmp_path / "second" / "main.py").read_text() == "print()"
    (kept,) = (tmp_path / "work" / "archives").iterdir()
    kept.write_bytes(b"rotten")
    with pytest.raises(Rejected, match="damaged in the object store"):
        await space.unpack_code(sha256, tmp_path / "third", Patience(print))
    assert not (tmp_path / "third").exists()


async def test_nothing_is_unpacked_any_more_when_that_is_cancelled(s3: S3Settings, tmp_path: Path) -> None:
    """Or a directory that is deleted next would come back."""
    (tmp_path / "source").mkdir()
    for number in range(NUM_FILES):
        (tmp_path / "source" / f"{number}.py").touch()
    body = archive.pack(tmp_path / "source")
    sha256 = hashlib.sha256(body).hexdigest()
    await ObjectStore(s3).put(objectstore.code_key(sha256), body)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # which does one thing after the other
    code = tmp_path / "code"
    unpacking = asyncio.create_task(make(tmp_path / "work", s3).unpack_code(sha256, code, Patience(print)))
    await eventually(lambda: code.exists() and any(code.iterdir()))
    unpacking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unpacking
    unpacked = len(list(code.iterdir()))
    await asyncio.to_thread(len, "what the thread had to do before is done")
    assert len(list(code.iterdir())) == unpacked


async def test_missing_code_is_said(s3: S3Settings, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="not in the object store"):
        await make(tmp_path / "work", s3).unpack_code("0" * 64, tmp_path / "code", Patience(print))


async def test_only_the_newest_archives_are_kept(
    s3: S3Settings, tmp_path: Path, code: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MAX_ARCHIVES", 2)
    space = make(tmp_path / "work", s3)
    for number in range(4):
        (tmp_path / "source" / "main.py").write_text(str(number))
        body = archive.pack(tmp_path / "source")
        sha256 = hashlib.sha256(body).hexdigest()
        await ObjectStore(s3).put(objectstore.code_key(sha256), body)
        await space.unpack_code(sha256, tmp_path / f"code-{number}", Patience(print))
    assert len(list((tmp_path / "work" / "archives").iterdir())) == 2


async def test_an_allocation_directory_goes_with_its_allocation(s3: S3Settings, tmp_path: Path) -> None:
    space = make(tmp_path / "work", s3)
    async with space.allocation_directory(AllocationId("e-1-a1")) as directory:
        assert (directory / "checkpoints").is_dir()
    assert not directory.exists()


@pytest.mark.parametrize("is_noted", [True, False])
@pytest.mark.parametrize("how", [asyncio.CancelledError, OSError])  # some library may answer with an error of its own
async def test_an_agent_that_must_end_leaves_a_checkpoint_that_is_not_stored_yet(
    s3: S3Settings, tmp_path: Path, *, is_noted: bool, how: type[BaseException]
) -> None:
    space, began = make(tmp_path / "work", s3), asyncio.Event()

    async def run() -> None:
        async with space.allocation_directory(SAVED.allocation_id) as directory:
            if is_noted:
                Notes(directory).write(Note(saved=SAVED, directory=str(directory / "checkpoints"), cause=1))
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise how from None

    running = asyncio.create_task(run())
    await began.wait()
    running.cancel()
    with pytest.raises(how):
        await running
    assert space.path_of(SAVED.allocation_id).exists() == is_noted


def test_the_lock_is_exclusive_until_every_holder_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "LOCK_TIMEOUT_S", 0.1)
    first = workspace.lock(tmp_path)
    inherited = os.dup(first)
    os.close(first)
    with pytest.raises(SystemExit, match="still uses"):
        workspace.lock(tmp_path)
    os.close(inherited)
    second = workspace.lock(tmp_path)
    with pytest.raises(BlockingIOError), (tmp_path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(second)


def test_the_number_of_a_dead_owner_may_be_another_processs_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = workspace.lock(tmp_path / "work")
    assert not leftovers.is_owner_dead(fd)
    stat = tmp_path / "proc" / str(os.getpid()) / "stat"
    stat.parent.mkdir(parents=True)
    stat.write_bytes(b"%d (\xff) S 1 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 1 1000 9 0\n" % os.getpid())
    monkeypatch.setattr(leftovers, "_PROC", tmp_path / "proc")
    assert leftovers.is_owner_dead(fd)
    os.close(fd)


def test_what_an_earlier_life_left_is_removed_but_not_the_archives(tmp_path: Path) -> None:
    for name in ("e-1-a1", "archives"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    os.close(workspace.lock(tmp_path))
    assert not (tmp_path / "e-1-a1").exists()
    assert (tmp_path / "archives" / "file").exists()


async def test_scratch_space_elsewhere_is_found_again_by_the_next_agent(tmp_path: Path) -> None:
    allocation = tmp_path / ("long" * 20) / "e-1-a1"
    allocation.mkdir(parents=True)
    killed = workspace.scratch(allocation)
    made = await killed.__aenter__()
    assert not made.is_relative_to(tmp_path) and made.is_dir()
    os.close(workspace.lock(allocation.parent))
    assert not made.exists() and not allocation.exists()


async def test_scratch_space_goes_with_its_context(tmp_path: Path) -> None:
    async with workspace.scratch(tmp_path) as made:
        (made / "file").write_text("x")
    assert not made.exists()
