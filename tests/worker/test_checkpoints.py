"""Checkpoint files to a real object store, an S3 server or a directory, and back."""

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.worker import checkpoints
from services.worker import patience as patience_module
from services.worker.allocation import Checkpoint
from services.worker.checkpoints import BadCheckpoint
from services.worker.patience import Patience
from shared import objectstore
from shared.errors import Refused, Unavailable
from shared.events import CheckpointFile, CheckpointSaved, CheckpointShardUploaded
from shared.ids import AgentId, AllocationId, CheckpointId, ExperimentId, TrialId
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.support.eventually import PATIENCE_S
from tests.support.fixtures import on_each_store

ID = CheckpointId("e-1-a1-s5")


def write(directory: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return directory


async def stored(store: ObjectStore, directory: Path) -> Checkpoint:
    files = await checkpoints.upload(store, ID, directory, Patience(print))
    return Checkpoint(checkpoint_id=ID, epoch=1, seq=1, step=5, world_size=1, files=files)


@on_each_store
async def test_what_is_stored_comes_back(store: S3Settings, tmp_path: Path) -> None:
    objects = ObjectStore(store)
    files = {"state/model.pt": os.urandom(3_000_000), "rng-rank-0.pt": b"", "rng-rank-1.pt": b"x"}
    checkpoint = await stored(objects, write(tmp_path / "written", files))
    assert [(file.path, file.size_bytes) for file in checkpoint.files] == [
        ("rng-rank-0.pt", 0), ("rng-rank-1.pt", 1), ("state/model.pt", 3_000_000),
    ]  # fmt: skip
    assert checkpoint.files[1].sha256 == hashlib.sha256(b"x").hexdigest()
    await checkpoints.download(objects, checkpoint, tmp_path / "read", Patience(print))
    assert {name: (tmp_path / "read" / name).read_bytes() for name in files} == files


@on_each_store
async def test_a_missing_or_damaged_file_is_named(store: S3Settings, tmp_path: Path) -> None:
    objects = ObjectStore(store)
    checkpoint = await stored(objects, write(tmp_path / "written", {"a": b"1", "b": b"2"}))
    await objects.put(objectstore.checkpoint_key(ID, "b"), b"3")
    with pytest.raises(BadCheckpoint, match="b is damaged"):
        await checkpoints.download(objects, checkpoint, tmp_path / "read", Patience(print))
    gone = replace(checkpoint, files=(replace_path(checkpoint.files[0], "c"),))
    with pytest.raises(BadCheckpoint, match="c is missing"):
        await checkpoints.download(objects, gone, tmp_path / "read", Patience(print))


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd"])
@on_each_store
async def test_a_path_that_leads_out_is_refused(store: S3Settings, tmp_path: Path, path: str) -> None:
    file = CheckpointFile(path=path, size_bytes=1, sha256="0")
    bad = Checkpoint(checkpoint_id=ID, epoch=1, seq=1, step=5, world_size=1, files=(file,))
    with pytest.raises(BadCheckpoint, match="leads out"):
        await checkpoints.download(ObjectStore(store), bad, tmp_path / "read", Patience(print))
    assert not (tmp_path / "outside").exists()


def test_links_special_files_and_reserved_names_are_refused(tmp_path: Path) -> None:
    directory = write(tmp_path / "c", {"a": b"1"})
    (directory / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadCheckpoint, match="link is neither"):
        checkpoints.find_files(directory)
    (directory / "link").unlink()
    (directory / "folder").symlink_to("/etc")
    with pytest.raises(BadCheckpoint, match="folder is neither"):
        checkpoints.find_files(directory)
    (directory / "folder").unlink()
    os.mkfifo(directory / "pipe")
    with pytest.raises(BadCheckpoint, match="pipe is neither"):
        checkpoints.find_files(directory)
    (directory / "pipe").unlink()
    write(directory, {"manifest.json": b""})
    with pytest.raises(BadCheckpoint, match="reserved"):
        checkpoints.find_files(directory)


def test_names_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    directory = write(tmp_path / "c", {"a": b"1"})
    Path(os.fsdecode(bytes(directory) + b"/weights-\xff")).write_bytes(b"2")
    with pytest.raises(BadCheckpoint, match=r"weights-.*is not UTF-8") as refusal:
        checkpoints.find_files(directory)
    assert str(refusal.value).encode()


async def test_what_the_object_store_refuses_is_not_tried_again(refusing_s3: S3Settings, tmp_path: Path) -> None:
    store = ObjectStore(refusing_s3)
    patience = Patience(print)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(BadCheckpoint, match="a is refused by the object store"):
            await checkpoints.upload(store, ID, write(tmp_path / "c", {"a": b"1"}), patience)
        file = CheckpointFile(path="a", size_bytes=1, sha256="0")
        checkpoint = Checkpoint(checkpoint_id=ID, epoch=1, seq=1, step=5, world_size=1, files=(file,))
        with pytest.raises(Refused):
            await checkpoints.download(store, checkpoint, tmp_path / "read", patience)


@pytest.mark.parametrize("kind", [CheckpointSaved, CheckpointShardUploaded])
def test_a_list_of_files_too_long_for_an_event_is_refused(kind: type[CheckpointSaved]) -> None:
    files = tuple(CheckpointFile(path=f"state/part-{n:06d}.pt", size_bytes=1, sha256="0" * 64) for n in range(12_000))
    fields: dict[str, Any] = {"world_size": 1, "zero_stage": None} if kind is CheckpointSaved else {}
    event = kind(
        trial_id=TrialId("e-1"), experiment_id=ExperimentId("e"), allocation_id=AllocationId("e-1-a1"), epoch=1,
        agent_id=AgentId("a1"), checkpoint_id=ID, step=5, files=files, **fields,
    )  # fmt: skip
    with pytest.raises(BadCheckpoint, match=r"it has 12,000 files, .* Write fewer files"):
        checkpoints.check_size(event)


async def test_a_long_wait_for_the_object_store_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience_module, "SAY_AFTER_S", 0.0)
    said: list[str] = []
    failures = [Unavailable("it is away")] * 2

    async def attempt() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert await Patience(said.append).until_available(attempt) == "done"
    assert said == [
        "waiting for the object store since 0 s, and trying on: it is away",
        "the object store answers again",
    ]


def test_an_empty_or_missing_directory_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="is empty"):
        checkpoints.find_files(tmp_path)
    with pytest.raises(BadCheckpoint, match="cannot read"):
        checkpoints.find_files(tmp_path / "missing")


def replace_path(file: CheckpointFile, path: str) -> CheckpointFile:
    return CheckpointFile(path=path, size_bytes=file.size_bytes, sha256=file.sha256)
