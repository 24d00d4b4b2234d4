"""Checkpoint files on their way to the object store and back. A checkpoint exists once its manifest does."""

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TypeVar

import msgspec

from services.worker.allocation import Checkpoint
from services.worker.patience import Patience
from shared import log, objectstore
from shared.errors import NotFound, Refused, TooLarge
from shared.events import CheckpointFile, CheckpointSaved, CheckpointShardUploaded
from shared.ids import CheckpointId
from shared.objectstore import ObjectStore

MANIFEST = PurePosixPath(objectstore.manifest_key(CheckpointId(""))).name
MAX_PARALLEL = 4

T = TypeVar("T")


class _Manifest(msgspec.Struct, frozen=True):
    step: int
    world_size: int
    files: tuple[CheckpointFile, ...]


class BadCheckpoint(Exception):
    """The files cannot be used; the message says why."""


def find_files(directory: Path) -> list[Path]:
    """Return a checkpoint's files, sorted.

    Raises BadCheckpoint: links, special files and names that are not UTF-8 have no place in one.
    """
    files: list[Path] = []
    try:
        for folder, folders, names in os.walk(directory, onerror=_reraise):
            for path in (Path(folder, name) for name in (*folders, *names)):
                _check_name(path.name)
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode):
                    files.append(path)
                elif not stat.S_ISDIR(mode):
                    raise BadCheckpoint(f"{path.relative_to(directory)} is neither a file nor a directory")
    except OSError as error:
        raise BadCheckpoint(f"cannot read {directory}: {error.strerror}") from error
    if not files:
        raise BadCheckpoint(f"{directory} is empty")
    if directory / MANIFEST in files:
        raise BadCheckpoint(f"{MANIFEST} is a reserved name")
    return sorted(files)


async def upload(
    store: ObjectStore,
    checkpoint_id: CheckpointId,
    directory: Path,
    patience: Patience,
    stored: Mapping[str, CheckpointFile] = MappingProxyType({}),
    note: Callable[[CheckpointFile], None] = lambda _: None,
) -> tuple[CheckpointFile, ...]:
    """Store all files below a directory, however long the object store is away. Raises BadCheckpoint.

    Those that are `stored` already are left out; `note` is told of each one as soon as it is.
    """
    paths = await asyncio.to_thread(find_files, directory)
    limit = asyncio.Semaphore(MAX_PARALLEL)

    async def upload_one(path: Path) -> CheckpointFile:
        async with limit:
            name = path.relative_to(directory).as_posix()
            known = stored.get(name)
            if known is not None and known.size_bytes == path.stat().st_size:
                return known
            try:
                key = objectstore.checkpoint_key(checkpoint_id, name)
                storing = patience.until_available(lambda: store.put_file(key, path))
                size_bytes, sha256 = await _both(store.digest(path), storing)
            except (Refused, NotFound) as error:  # no bucket is not found
                raise BadCheckpoint(f"{name} is refused by the object store: {error}") from error
            except OSError as error:
                raise BadCheckpoint(f"cannot read {path}: {error.strerror}") from error
            file = CheckpointFile(path=name, size_bytes=size_bytes, sha256=sha256)
            note(file)
            return file

    return await _all([upload_one(path) for path in paths])


def check_size(stored: CheckpointSaved | CheckpointShardUploaded) -> None:
    """Raise BadCheckpoint when the list of a checkpoint's files does not fit into the event."""
    try:
        log.check_size(stored)
    except TooLarge as error:
        advice = "Write fewer files, for example one archive instead of a directory"
        raise BadCheckpoint(f"it has {len(stored.files):,} files, so {error}. {advice}") from error


async def write_manifest(store: ObjectStore, saved: CheckpointSaved, patience: Patience) -> None:
    """Make the checkpoint exist. Raises BadCheckpoint when the object store refuses."""
    body = json.dumps(
        {
            "checkpoint_id": saved.checkpoint_id,
            "trial_id": saved.trial_id,
            "experiment_id": saved.experiment_id,
            "step": saved.step,
            "world_size": saved.world_size,
            "zero_stage": saved.zero_stage,
            "files": [
                {"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in saved.files
            ],
        },
        indent=1,
    ).encode()
    try:
        await patience.until_available(lambda: store.put(objectstore.manifest_key(saved.checkpoint_id), body))
    except (Refused, NotFound) as error:
        raise BadCheckpoint(f"{MANIFEST} is refused by the object store: {error}") from error


async def read_manifest(store: ObjectStore, checkpoint_id: CheckpointId, patience: Patience) -> Checkpoint:
    """Return what a checkpoint's manifest says of it. Raises BadCheckpoint when it is missing or makes no sense."""
    try:
        body = await patience.until_available(lambda: store.get(objectstore.manifest_key(checkpoint_id)))
        manifest = msgspec.json.decode(body, type=_Manifest)
    except NotFound:
        raise BadCheckpoint(f"{MANIFEST} is missing") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadCheckpoint(f"{MANIFEST} is damaged: {error}") from error
    return Checkpoint(
        checkpoint_id=checkpoint_id,
        epoch=0,
        seq=0,
        step=manifest.step,
        world_size=manifest.world_size,
        files=manifest.files,
    )


async def download(store: ObjectStore, checkpoint: Checkpoint, directory: Path, patience: Patience) -> None:
    """Fetch and verify a checkpoint's files into a directory.

    Raises BadCheckpoint when a file is missing or differs, and Refused: that says nothing about the checkpoint.
    """
    limit = asyncio.Semaphore(MAX_PARALLEL)

    async def download_one(file: CheckpointFile) -> None:
        async with limit:
            relative = PurePosixPath(file.path)
            if relative.is_absolute() or ".." in relative.parts:
                raise BadCheckpoint(f"{file.path} leads out of the checkpoint")
            path = directory / relative
            try:
                key = objectstore.checkpoint_key(checkpoint.checkpoint_id, file.path)
                await patience.until_available(lambda: store.get_file(key, path))
            except NotFound:
                raise BadCheckpoint(f"{file.path} is missing") from None
            if await store.digest(path) != (file.size_bytes, file.sha256):
                raise BadCheckpoint(f"{file.path} is damaged")

    await _all([download_one(file) for file in checkpoint.files])


async def _all(work: Sequence[Awaitable[T]]) -> tuple[T, ...]:
    """Return all results; raise the first failure, and only when everything else has ended too."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return tuple(result for result in results if not isinstance(result, BaseException))


async def _both(digesting: Awaitable[T], storing: Awaitable[None]) -> T:
    """Return a file's digest, computed while it is stored; raise the first failure when both have ended."""
    digest, stored = await asyncio.gather(digesting, storing, return_exceptions=True)
    for result in (digest, stored):
        if isinstance(result, BaseException):
            raise result
    assert not isinstance(digest, BaseException)
    return digest


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadCheckpoint(f"the file name {name!a} is not UTF-8") from None


def _reraise(error: OSError) -> None:
    raise error
