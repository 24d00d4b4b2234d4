"""Checkpoints that were written and not yet stored when their agent was killed: the next agent stores them first.

Beside the files of an allocation lies a note of every checkpoint that all ranks have written, from then until it is on
the log, and which of its files are stored. It is written once the validations before it are on the log: a trial that
goes on from the checkpoint does not report them again. An agent that starts finishes what its predecessor noted, before
it joins: with its joining the trial is given away, and should find the checkpoint. Of a gang over several agents
nothing is noted: the others' parts would be missing.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace
from nats.aio.client import Client

from services.worker import checkpoints
from services.worker.checkpoints import BadCheckpoint
from services.worker.outbox import Outbox
from services.worker.patience import Patience
from shared import log, subjects
from shared.broker import raise_if_cancelled
from shared.errors import Refused, TooLarge
from shared.events import CheckpointDeletionRequested, CheckpointFile, CheckpointSaved
from shared.objectstore import ObjectStore

#: Longer than this a trial does not wait for its agent: with every agent that is silent it is soon given away.
FINISH_TIMEOUT_S = 60.0

_FOLDER, _NOTE, _STORED, _UNREADABLE = "unfinished", ".json", ".stored", ".unreadable"

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that is written: what is to be said of it once its files, in `directory`, are stored."""

    saved: CheckpointSaved
    directory: str
    cause: int


class Notes:
    """The notes of one allocation."""

    def __init__(self, allocation_directory: Path) -> None:
        self._folder = allocation_directory / _FOLDER

    def write(self, note: Note) -> None:
        """Keep a note, on disk after the files that it tells of: after a power cut it must not tell of others."""
        self._folder.mkdir(exist_ok=True)
        for folder, _, names in os.walk(note.directory, topdown=False):
            for name in (*names, "."):
                _sync(Path(folder, name))
        partial = self._path(note.saved.step, ".partial")
        partial.write_bytes(msgspec.json.encode(note))
        _sync(partial)
        partial.rename(self._path(note.saved.step, _NOTE))
        _sync(self._folder)
        _sync(self._folder.parent)

    def add_stored(self, step: int, file: CheckpointFile) -> None:
        """Keep that a file is stored."""
        with self._path(step, _STORED).open("ab") as stored:
            stored.write(msgspec.json.encode(file) + b"\n")

    def stored(self, step: int) -> list[CheckpointFile]:
        """Return which files are stored."""
        try:
            lines = self._path(step, _STORED).read_bytes().split(b"\n")[:-1]  # the last may be half a line
        except FileNotFoundError:
            return []
        return [file for line in lines if (file := _decoded(line, CheckpointFile)) is not None]

    def remove(self, step: int) -> None:
        """Forget a checkpoint, because it is on the log."""
        for suffix in (_NOTE, _STORED):
            self._path(step, suffix).unlink(missing_ok=True)

    def read(self) -> list[Note]:
        """Return all notes, the oldest checkpoint first. One that cannot be read is set aside, and said."""
        found = []
        for path in list(self._folder.glob(f"*{_NOTE}")):
            note = _decoded(path.read_bytes(), Note)
            if note is None:
                path.rename(path.with_suffix(_UNREADABLE))
            else:
                found.append(note)
        return sorted(found, key=lambda note: note.saved.step)

    def _path(self, step: int, suffix: str) -> Path:
        return self._folder / f"{step}{suffix}"


def has_notes(allocation_directory: Path) -> bool:
    """Say whether a folder of an earlier life has something that is to be finished."""
    return any((allocation_directory / _FOLDER).glob(f"*{_NOTE}"))


async def finish(client: Client, store: ObjectStore, outbox: Outbox, work_directory: Path, writer: str) -> None:
    """Store what an earlier agent in this directory left, as far as there is time, and leave nothing of it."""
    left = [entry for entry in work_directory.iterdir() if entry.is_dir() and has_notes(entry)]
    try:
        async with asyncio.timeout(FINISH_TIMEOUT_S):
            for directory in left:
                for note in Notes(directory).read():
                    await _finish(client, store, outbox, Notes(directory), note, writer)
    except TimeoutError:
        _log.error("checkpoints of the last agent could not be stored in time", extra={"num_allocations": len(left)})
    for directory in left:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _finish(client: Client, store: ObjectStore, outbox: Outbox, notes: Notes, note: Note, writer: str) -> None:
    saved, directory = note.saved, Path(note.directory)
    if await _is_on_the_log(client, saved, writer) or await _is_given_up(client, saved):
        return
    try:
        files = await upload(store, notes, saved, directory, Patience(_log.warning))
        await say(store, outbox, replace(saved, files=tuple(files)), note.cause, Patience(_log.warning))
    except (BadCheckpoint, TooLarge, Refused) as error:
        _log.error("a checkpoint of the last agent is lost", extra={"step": saved.step, "error": str(error)})
        return
    except Exception:  # noqa: BLE001 # else this note would keep every next agent from starting, too
        raise_if_cancelled()
        _log.exception("a checkpoint of the last agent is lost", extra={"step": saved.step})
        return
    _log.info("a checkpoint of the last agent is stored", extra={"checkpoint_id": saved.checkpoint_id})


async def upload(
    store: ObjectStore, notes: Notes, saved: CheckpointSaved, directory: Path, patience: Patience
) -> Sequence[CheckpointFile]:
    """Store the files of a checkpoint that are not stored yet. Raises BadCheckpoint."""
    stored = {file.path: file for file in notes.stored(saved.step)}
    return await checkpoints.upload(
        store, saved.checkpoint_id, directory, patience, stored, lambda file: notes.add_stored(saved.step, file)
    )


async def say(store: ObjectStore, outbox: Outbox, saved: CheckpointSaved, cause: int, patience: Patience) -> None:
    """Make a checkpoint exist whose files are stored. Raises BadCheckpoint and TooLarge."""
    checkpoints.check_size(saved)
    await checkpoints.write_manifest(store, saved, patience)
    await outbox.append(saved, causes=(cause,), correlation=saved.experiment_id)


async def _is_given_up(client: Client, saved: CheckpointSaved) -> bool:
    """Say whether what was stored of a checkpoint is about to be deleted, because nobody came back for too long."""
    subject = subjects.aggregate_subject(subjects.GATEWAY, CheckpointDeletionRequested.aggregate, saved.checkpoint_id)
    return await log.last_of(client, subject) is not None


def _decoded(body: bytes, kind: type[T]) -> T | None:
    """Return what a file of an earlier agent says, None if it is damaged."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        found = {"kind": kind.__name__, "error": str(error), "begins": repr(body[:100])}
        _log.error("what the last agent noted of a checkpoint cannot be read", extra=found)
        return None


def _sync(path: Path) -> None:
    """Return when the disk has a file's content, or a folder's names. What is neither no checkpoint may hold."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


async def _is_on_the_log(client: Client, saved: CheckpointSaved, writer: str) -> bool:
    """Say whether a checkpoint, or a later one of the trial, is known: an agent stores one after the other."""
    subject = subjects.event_filter(writer, saved.aggregate, saved.aggregate_id, type(saved).__name__)
    message = await log.last_of(client, subject)
    if message is None:
        return False
    event = log.decode_recorded(message).event
    return isinstance(event, CheckpointSaved) and (event.epoch, event.step) >= (saved.epoch, saved.step)
