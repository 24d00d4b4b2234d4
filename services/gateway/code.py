"""The code directory of an experiment, read out of its archive: which files there are, and one of them."""

import asyncio
import tarfile
import zlib
from io import BytesIO
from pathlib import PurePosixPath

from services.gateway.past import ReadModel
from services.gateway.problems import not_found
from services.gateway.views.experiments import CodeFile, CodeFiles
from shared.errors import NotFound, Rejected
from shared.objectstore import ObjectStore, code_key

MAX_FILES = 5_000
MAX_FILE_BYTES = 2 * 1024 * 1024  # of one that is shown
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError)


async def archive_of(database: ReadModel, experiment_id: str) -> str:
    """Return the SHA-256 of an experiment's code archive. Raises Rejected (404)."""
    sha256: str | None = await database.fetchval("SELECT code_sha256 FROM experiments WHERE id = $1", experiment_id)
    if sha256 is None:
        raise not_found("experiment", experiment_id)
    return sha256


async def files(store: ObjectStore, sha256: str) -> CodeFiles:
    """Return the files of a code directory by path. Raises Rejected (404). Holds the whole archive meanwhile."""
    archive = await _archive(store, sha256)
    return CodeFiles(sha256=sha256, items=await asyncio.to_thread(_list, archive))


async def file(store: ObjectStore, sha256: str, path: str) -> bytes:
    """Return the first MAX_FILE_BYTES of one file. Raises Rejected (404). Holds the whole archive meanwhile."""
    content = await asyncio.to_thread(_read, await _archive(store, sha256), path)
    if content is None:
        raise not_found("file", repr(path[:200]))
    return content


async def _archive(store: ObjectStore, sha256: str) -> BytesIO:
    archive = BytesIO()  # in place of ObjectStore.get, which has twice the bytes for a moment
    try:
        async for chunk in store.stream(code_key(sha256)):
            archive.write(chunk)
    except NotFound as error:
        raise not_found("code archive", sha256) from error
    archive.seek(0)
    return archive


def _list(archive: BytesIO) -> list[CodeFile]:
    with _opened(archive) as tar:
        found = [CodeFile(path=_path(member), size_bytes=member.size) for member in tar.getmembers() if member.isfile()]
    return sorted(found, key=lambda each: each.path)[:MAX_FILES]


def _read(archive: BytesIO, path: str) -> bytes | None:
    with _opened(archive) as tar:
        for member in tar:
            if member.isfile() and _path(member) == path:
                content = tar.extractfile(member)
                return b"" if content is None else content.read(MAX_FILE_BYTES)
    return None


def _opened(archive: BytesIO) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=archive, mode="r:gz")
    except _DAMAGE as error:
        raise Rejected(f"the code archive cannot be read: {error}", status=409) from error


def _path(member: tarfile.TarInfo) -> str:
    return str(PurePosixPath(member.name))
