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


async def files(database: ReadModel, store: ObjectStore, experiment_id: str) -> CodeFiles:
    """Return the files of an experiment's code directory by path. Raises Rejected (404)."""
    sha256, archive = await _archive(database, store, experiment_id)
    return CodeFiles(sha256=sha256, items=await asyncio.to_thread(_list, archive))


async def file(database: ReadModel, store: ObjectStore, experiment_id: str, path: str) -> bytes:
    """Return the first MAX_FILE_BYTES of one file. Raises Rejected (404)."""
    _, archive = await _archive(database, store, experiment_id)
    content = await asyncio.to_thread(_read, archive, path)
    if content is None:
        raise not_found("file", repr(path[:200]))
    return content


async def _archive(database: ReadModel, store: ObjectStore, experiment_id: str) -> tuple[str, bytes]:
    sha256: str | None = await database.fetchval("SELECT code_sha256 FROM experiments WHERE id = $1", experiment_id)
    if sha256 is None:
        raise not_found("experiment", experiment_id)
    try:
        return sha256, await store.get(code_key(sha256))
    except NotFound as error:
        raise not_found("code archive", sha256) from error


def _list(archive: bytes) -> list[CodeFile]:
    with _opened(archive) as tar:
        found = [CodeFile(path=_path(member), size_bytes=member.size) for member in tar.getmembers() if member.isfile()]
    return sorted(found, key=lambda each: each.path)[:MAX_FILES]


def _read(archive: bytes, path: str) -> bytes | None:
    with _opened(archive) as tar:
        for member in tar:
            if member.isfile() and _path(member) == path:
                content = tar.extractfile(member)
                return b"" if content is None else content.read(MAX_FILE_BYTES)
    return None


def _opened(archive: bytes) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=BytesIO(archive), mode="r:gz")
    except _DAMAGE as error:
        raise Rejected(f"the code archive cannot be read: {error}", status=409) from error


def _path(member: tarfile.TarInfo) -> str:
    return str(PurePosixPath(member.name))
