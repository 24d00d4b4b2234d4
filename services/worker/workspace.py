"""The agent's directory on disk: a lock, code archives by content, and one directory per allocation while it lives."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from services.worker import leftovers, unfinished
from services.worker.conversions import Conversions
from services.worker.patience import Patience
from shared import archive, objectstore
from shared.errors import NotFound, Rejected
from shared.ids import AllocationId
from shared.objectstore import ObjectStore

LOCK_TIMEOUT_S = 10.0
LOCK_RETRY_S = 0.05
MAX_ARCHIVES = 16
MAX_SCRATCH_PATH_BYTES = 60  # of the 107 that the kernel allows; Python adds 41

_ARCHIVES = "archives"
_CONVERSIONS = "universal"
_LOCK = "lock"
_SCRATCH, _ELSEWHERE = "scratch", "tm-scratch-"
_INCARNATION = "incarnation"


def lock(directory: Path) -> int:
    """Return the descriptor of a lock that nobody else holds, and leave no folder of an earlier life in the directory
    that has not a checkpoint to be finished (services.worker.unfinished).

    Warm parent and forks inherit the descriptor, and what an agent that was killed has left is ended: whoever has the
    lock knows that nothing of an earlier life still runs. Exits with a clear message when it cannot be had.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    fd = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if leftovers.is_owner_dead(fd):
                leftovers.end_all(directory, directory / _LOCK)
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"another agent, or a process that a trial of it left, still uses {directory}"
                ) from None
            time.sleep(LOCK_RETRY_S)
    leftovers.end_all(directory, directory / _LOCK)
    leftovers.note_owner(fd)
    for entry in directory.iterdir():
        if entry.is_dir() and entry.name not in (_ARCHIVES, _CONVERSIONS):
            if (elsewhere := entry / _SCRATCH).is_symlink() and elsewhere.readlink().name.startswith(_ELSEWHERE):
                shutil.rmtree(elsewhere.readlink(), ignore_errors=True)
            if not unfinished.has_notes(entry):
                shutil.rmtree(entry, ignore_errors=True)
    return fd


def last_incarnation(directory: Path) -> str:
    """Return the incarnation that joined from this directory last, "" for none. With the lock held it is dead."""
    try:
        return (directory / _INCARNATION).read_text().strip()
    except FileNotFoundError:
        return ""


def note_incarnation(directory: Path, incarnation: str) -> None:
    """Remember who joined from this directory. If that is lost, the next one waits until this one is declared lost."""
    (directory / _INCARNATION).write_text(f"{incarnation}\n")


@contextlib.asynccontextmanager
async def scratch(directory: Path) -> AsyncIterator[Path]:
    """A directory for temporary files, as long as the context lasts: in `directory`, or in the system's if its path
    would be too long for the sockets that some libraries put there."""
    path = directory / _SCRATCH
    if len(str(path).encode()) > MAX_SCRATCH_PATH_BYTES:
        link, path = path, Path(tempfile.mkdtemp(prefix=_ELSEWHERE))
        link.symlink_to(path)  # so that the next agent here finds it if this one is killed
    else:
        path.mkdir()
    try:
        yield path
    finally:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


class Workspace:
    """Makes allocation directories: code/ checkpoints/ resume/, and the socket."""

    def __init__(self, directory: Path, store: ObjectStore) -> None:
        self._directory = directory
        self._archives = directory / _ARCHIVES
        self._archives.mkdir(exist_ok=True)
        self.conversions = Conversions(directory / _CONVERSIONS)
        self._store = store
        self._fetching: dict[str, asyncio.Lock] = {}

    def path_of(self, allocation_id: AllocationId) -> Path:
        """Return where an allocation's directory is."""
        return self._directory / allocation_id

    @contextlib.asynccontextmanager
    async def allocation_directory(self, allocation_id: AllocationId) -> AsyncIterator[Path]:
        """An empty directory for as long as the context lasts. An agent that ends before a checkpoint in it is stored
        leaves it as one that is killed does, for the next one to finish that (services.worker.unfinished)."""
        directory = self.path_of(allocation_id)
        directory.mkdir()
        (directory / "checkpoints").mkdir()
        try:
            yield directory
        finally:
            if not (_is_cancelled() and unfinished.has_notes(directory)):
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def unpack_code(self, sha256: str, directory: Path, patience: Patience) -> None:
        """Unpack a code archive into a new directory.

        Raises Rejected when the archive is missing, broken or unsafe, Refused when the object store does not give it.
        """
        body = await self._archive(sha256, patience)
        directory.mkdir()
        await _unpack(body, directory)

    async def _archive(self, sha256: str, patience: Patience) -> bytes:
        async with self._fetching.setdefault(sha256, asyncio.Lock()):
            path = self._archives / f"{sha256}.tar.gz"
            body = await asyncio.to_thread(_read_verified, path, sha256)
            if body is None:
                body = await self._download(sha256, patience)
                await asyncio.to_thread(_keep, path, body)
        self._fetching.pop(sha256, None)
        return body

    async def _download(self, sha256: str, patience: Patience) -> bytes:
        try:
            body = await patience.until_available(lambda: self._store.get(objectstore.code_key(sha256)))
        except NotFound:
            raise Rejected(f"the code archive {sha256} is not in the object store") from None
        if hashlib.sha256(body).hexdigest() != sha256:
            raise Rejected(f"the code archive {sha256} is damaged in the object store")
        return body


def _is_cancelled() -> bool:
    """Say whether the current task was told to end, whatever it ends with."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _unpack(body: bytes, directory: Path) -> None:
    """Unpack an archive in a thread. When that is cancelled, be so once the thread has ended: what it writes would
    bring back a directory that is deleted next."""
    given_up = threading.Event()
    unpacking = asyncio.ensure_future(asyncio.to_thread(archive.unpack, body, directory, given_up.is_set))
    try:
        await asyncio.shield(unpacking)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.gather(unpacking, return_exceptions=True)
        raise


def _read_verified(path: Path, sha256: str) -> bytes | None:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(body).hexdigest() != sha256:
        return None
    os.utime(path)
    return body


def _keep(path: Path, body: bytes) -> None:
    """Cache an archive, and forget those that were not used for the longest time."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(body)
    partial.rename(path)
    newest_first = sorted(path.parent.glob("*.tar.gz"), key=lambda kept: kept.stat().st_mtime, reverse=True)
    for old in newest_first[MAX_ARCHIVES:]:
        old.unlink(missing_ok=True)
