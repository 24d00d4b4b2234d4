"""A tar archive of objects, made while it is sent: never whole in memory, its length known beforehand."""

import tarfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from shared.errors import Rejected, Unavailable

BLOCK_BYTES = 512
END = b"\0" * (2 * BLOCK_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of the archive, and where its bytes come from."""

    path: str
    size_bytes: int
    open: Callable[[], AsyncIterator[bytes]]


def size_bytes(entries: Sequence[Entry], time: datetime) -> int:
    """Return the length of the archive."""
    return sum(len(_header(e, time)) + e.size_bytes + len(_padding(e.size_bytes)) for e in entries) + len(END)


async def stream(entries: Sequence[Entry], time: datetime) -> AsyncIterator[bytes]:
    """Yield the archive. Raises Unavailable when an object has not the size that was promised."""
    for entry in entries:
        yield _header(entry, time)
        num_left = entry.size_bytes
        async for chunk in entry.open():
            num_left -= len(chunk)
            if num_left < 0:
                break
            yield chunk
        if num_left:
            raise Unavailable(f"{entry.path} has not the {entry.size_bytes} bytes that the manifest says")
        yield _padding(entry.size_bytes)
    yield END


def check_path(path: str) -> None:
    """Raise Rejected for a path that would lead out of where the archive is unpacked."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise Rejected(f"the checkpoint's manifest names {path!r}, which is no path inside it", status=409)


def _header(entry: Entry, time: datetime) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.size = entry.size_bytes
    info.mode = 0o644
    info.mtime = int(time.timestamp())
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return b"\0" * (-size_bytes % BLOCK_BYTES)
