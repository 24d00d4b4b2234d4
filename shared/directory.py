"""The object store in a directory that all machines share (NFS, Lustre, a disk of the only machine). All calls block.

An object is a file; its key is the path. It is written beside its place and renamed into it, flushed to disk before:
so it is whole or not there, also after a power cut, and a reader never sees half of one. A directory that is not there
is a share that is not mounted, so the store is away: that says nothing about what it holds.
"""

import contextlib
import errno
import io
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

from shared.errors import NotFound, Refused, Unavailable
from shared.pace import Pace, PacedFile
from shared.source import Source
from shared.uploads import Upload

COPY_BYTES = 1024 * 1024
ABANDONED_S = 24 * 3600.0  # a file that was begun so long ago belongs to a process that was killed

_PARTIAL = ".partial"
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_FOR_GOOD = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ENAMETOOLONG, errno.EFBIG)


class Directory:
    """One directory of objects. Methods raise NotFound, Refused and Unavailable."""

    def __init__(self, root: Path, pace: Pace | None) -> None:
        self._root = root
        self._pace = pace

    def ensure(self) -> None:
        """Create the directory unless it is there; remove what killed processes have begun to write."""
        with _translated(str(self._root)):
            partial = self._root / _PARTIAL
            partial.mkdir(parents=True, exist_ok=True)
            for begun in partial.iterdir():
                if begun.stat().st_mtime < time.time() - ABANDONED_S:
                    begun.unlink(missing_ok=True)

    def put(self, key: str, body: bytes) -> None:
        """Store an object."""
        self._store(key, io.BytesIO(body))

    def put_file(self, key: str, path: Path) -> None:
        """Store a file, at the pace. Raises OSError when it cannot be read."""
        with path.open("rb") as file:
            self._store(key, file if self._pace is None else PacedFile(file, self._pace))

    def put_from(self, key: str, source: Source) -> None:
        """Store what can be read of a source; nothing, when reading fails."""
        self._store(key, source)

    def get_file(self, key: str, path: Path) -> None:
        """Write an object to a file, creating its folders. Raises OSError when that cannot be written."""
        with self.open(key) as stored:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(stored, file, COPY_BYTES)

    def listed(self, folder: str, limit: int) -> list[tuple[str, int | None]]:
        """Return what is in a folder, by name; of folders in it no size."""
        path = self._path(folder.removesuffix("/"))
        with _translated(folder):
            if not path.is_dir():
                return []
            names = sorted(os.scandir(path), key=attrgetter("name"))[:limit]
            return [(entry.name, None if entry.is_dir() else entry.stat().st_size) for entry in names]

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder."""
        path = self._path(folder.removesuffix("/"))
        with _translated(folder):
            if path.is_dir():
                with os.scandir(path) as entries:
                    yield from (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def size_below(self, prefix: str) -> int:
        """Return how many bytes the objects in a folder have."""
        folder = self._path(prefix.removesuffix("/"))
        with _translated(prefix):
            return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Yield nothing: what is begun here is a file aside, which `ensure` removes."""
        yield from ()

    def abort(self, upload: Upload) -> None:
        """Do nothing: there are no uploads in parts."""

    def delete(self, key: str) -> None:
        """Delete an object."""
        path = self._path(key)
        with _translated(key):
            if path.is_file():
                path.unlink(missing_ok=True)

    def delete_below(self, prefix: str) -> int:
        """Delete every object in a folder."""
        folder = self._path(prefix.removesuffix("/"))
        with _translated(prefix):
            num_files = sum(len(names) for _, _, names in os.walk(folder))
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)
        return num_files

    def check(self, key: str) -> None:
        """Return if the object exists."""
        self.open(key).close()

    def open(self, key: str) -> BinaryIO:
        """Return what reads an object."""
        path = self._path(key)
        with _translated(key):
            return path.open("rb")

    def _store(self, key: str, source: BinaryIO | PacedFile | Source) -> None:
        path, partial = self._path(key), self._root / _PARTIAL / uuid.uuid4().hex
        with _translated(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("xb") as written:
                    shutil.copyfileobj(source, written, COPY_BYTES)
                    written.flush()
                    os.fsync(written.fileno())
                partial.rename(path)
                _flush(path.parent)
            finally:
                partial.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        """Return where an object lies. Raises Unavailable while the directory is away."""
        if any(part in ("", ".", "..", _PARTIAL) for part in key.split("/")) or "\0" in key:
            raise NotFound(key)
        if not self._root.is_dir():
            raise Unavailable(f"the object store's directory {self._root} is not there; is it mounted?")
        return self._root / key


def _flush(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    """Turn the system's errors into NotFound, Refused and Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise NotFound(key) from error
        kind = Refused if error.errno in _FOR_GOOD else Unavailable
        raise kind(f"the object store failed on {key}: {error.strerror}") from error
