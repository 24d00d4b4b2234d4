"""The object store: code archives and checkpoints, in an S3 bucket or in a directory that all machines share.

code/<sha256>.tar.gz                  an experiment's code directory
checkpoints/<checkpoint>/<path>       one file of a checkpoint
checkpoints/<checkpoint>/manifest.json   written last: without it the checkpoint does not exist
artifacts/<experiment>/<run>/artifacts/<path>   a file that an MLflow client logged

Blocking calls run in threads of the store's own. Files that are put, files that are fetched, digests and all else have
some each: a store that is slow, or a pace, keeps waiting what is alike, and nothing else of the process, which has one
pool of few threads for its own disk, for name lookups, for the GPUs.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from shared.directory import Directory
from shared.errors import NotFound
from shared.pace import Pace
from shared.s3 import S3
from shared.settings import S3Settings
from shared.source import Source
from shared.uploads import Upload

CHUNK_BYTES = 1024 * 1024
PAGE = 1000  # of a listing
CHECKPOINTS = "checkpoints/"

P = ParamSpec("P")
T = TypeVar("T")


def code_key(sha256: str) -> str:
    """Return where a code archive lies."""
    return f"code/{sha256}.tar.gz"


def artifact_key(path: str) -> str:
    """Return where an artifact lies, by its path from its experiment on."""
    return f"artifacts/{path}"


def checkpoint_key(checkpoint_id: str, path: str) -> str:
    """Return where one file of a checkpoint lies."""
    return f"{CHECKPOINTS}{checkpoint_id}/{path}"


def manifest_key(checkpoint_id: str) -> str:
    """Return where a checkpoint's manifest lies."""
    return checkpoint_key(checkpoint_id, "manifest.json")


class _Body(Protocol):
    """What reads an object."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class _Backend(Protocol):
    """Where the objects lie. All calls block, and raise NotFound, Refused and Unavailable."""

    def ensure(self) -> None: ...

    def put(self, key: str, body: bytes) -> None: ...

    def put_file(self, key: str, path: Path) -> None: ...

    def put_from(self, key: str, source: Source) -> None: ...

    def get_file(self, key: str, path: Path) -> None: ...

    def listed(self, folder: str, limit: int) -> list[tuple[str, int | None]]: ...

    def folders(self, folder: str) -> Iterator[str]: ...

    def size_below(self, prefix: str) -> int: ...

    def uploads(self, prefix: str) -> Iterator[Upload]: ...

    def abort(self, upload: Upload) -> None: ...

    def delete(self, key: str) -> None: ...

    def delete_below(self, prefix: str) -> int: ...

    def check(self, key: str) -> None: ...

    def open(self, key: str) -> _Body: ...


class _Threads:
    """Threads for calls that block, as many at most as asyncio has for all such calls."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(thread_name_prefix=name)

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *args, **kwargs))


class ObjectStore:
    """One bucket. Methods raise NotFound, Refused and Unavailable."""

    def __init__(self, settings: S3Settings, pace: Pace | None = None) -> None:
        """`pace` limits what is uploaded from files."""
        root = settings.directory
        self._backend: _Backend = S3(settings, pace) if root is None else Directory(root / settings.bucket, pace)
        self._putting, self._fetching = _Threads("put-file"), _Threads("get-file")
        self._digesting, self._asking = _Threads("digest"), _Threads("object-store")

    async def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        await self._asking(self._backend.ensure)

    async def put(self, key: str, body: bytes) -> None:
        """Store an object, replacing what was there."""
        await self._asking(self._backend.put, key, body)

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file as an object. Raises OSError when it cannot be read."""
        await self._putting(self._backend.put_file, key, path)

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what comes, once it is here whole; nothing, when the chunks end with an error, which is raised.

        A thread of its own reads it, so that those who send slowly keep nobody else waiting.
        """
        loop = asyncio.get_running_loop()
        source, own = Source(chunks, loop), ThreadPoolExecutor(1, "put-stream")
        try:
            await loop.run_in_executor(own, self._backend.put_from, key, source)
        finally:
            source.close()
            own.shutdown(wait=False)

    async def get(self, key: str) -> bytes:
        """Return a whole object; for small ones."""
        return b"".join([chunk async for chunk in self.stream(key)])

    async def get_file(self, key: str, path: Path) -> None:
        """Write an object to a file, creating its folders."""
        await self._fetching(self._backend.get_file, key, path)

    async def digest(self, path: Path) -> tuple[int, str]:
        """Return the size in bytes and the SHA-256 of a file that is on its way. Raises OSError when it cannot be
        read."""
        return await self._digesting(_digest, path)

    async def exists(self, key: str) -> bool:
        """Say whether an object exists."""
        try:
            await self._asking(self._backend.check, key)
        except NotFound:
            return False
        return True

    async def listed(self, folder: str, limit: int) -> list[tuple[str, int | None]]:
        """Return what is in a folder (its key ends in a slash), by name, with sizes in bytes, None for a folder;
        nothing when it is not there."""
        return await self._asking(self._backend.listed, folder, limit)

    async def folders(self, folder: str) -> AsyncIterator[list[str]]:
        """Yield the names of the folders in a folder (its key ends in a slash), a page at a time."""
        names = self._backend.folders(folder)
        while page := await self._asking(list, islice(names, PAGE)):
            yield page

    async def size_below(self, prefix: str) -> int:
        """Return how many bytes the objects have whose key begins with a prefix, which ends in a slash."""
        return await self._asking(self._backend.size_below, prefix)

    async def uploads(self, prefix: str) -> AsyncIterator[list[Upload]]:
        """Yield the uploads in parts of objects whose key begins with a prefix that were begun and neither completed
        nor aborted, a page at a time; none where the store keeps no such thing, or does not tell."""
        found = self._backend.uploads(prefix)
        while page := await self._asking(list, islice(found, PAGE)):
            yield page

    async def abort(self, upload: Upload) -> None:
        """Forget the parts of an upload. May be repeated."""
        await self._asking(self._backend.abort, upload)

    async def delete(self, key: str) -> None:
        """Delete an object. May be repeated."""
        await self._asking(self._backend.delete, key)

    async def delete_below(self, prefix: str) -> int:
        """Delete every object whose key begins with a prefix, which ends in a slash; return how many there were. May be
        repeated."""
        return await self._asking(self._backend.delete_below, prefix)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield an object in chunks."""
        body = await self._asking(self._backend.open, key)
        try:
            while chunk := await self._asking(body.read, CHUNK_BYTES):
                yield chunk
        finally:
            body.close()


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256
