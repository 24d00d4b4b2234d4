"""Artifacts: files of runs and logged models in the object store, sent and taken piece by piece.

A client is told that they are at mlflow-artifacts:/EXPERIMENT/OWNER/artifacts/…, and asks the gateway for what is under
that path: so what it may do there is what it may do in the experiment.
"""

import asyncio
import mimetypes
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from aiohttp import ClientError, web

from services.gateway import sse
from services.gateway.access.access import principal
from services.gateway.mlflow import reading, wire
from services.gateway.mlflow.operations import ARTIFACTS_PREFIX, Asked, Operation, operation
from services.gateway.mlflow.runs import RunById
from services.gateway.mlflow.wire import Empty, Said
from services.gateway.turns import Turns
from shared.errors import Problem, Rejected
from shared.events import Role
from shared.objectstore import artifact_key

MAX_UPLOAD_BYTES = 5 * 1024**3  # what an S3 server takes as one object without more ado
MAX_PATH = 900  # S3 keys have at most 1,024 bytes
MAX_FILES = 1_000  # in an answer that lists them
STALL_S = 60.0
MAX_UPLOAD_S = 3600.0  # 1.5 MB/s for the largest

_SEGMENT = re.compile(r"[^\x00-\x1f\\]{1,255}")

UPLOADS = web.AppKey("uploads", Turns)
MAX_UPLOADS = 8  # at a time, of all; each has two parts of 8 MiB in memory
MAX_UPLOADS_EACH = 4  # of one user


class ArtifactPath(Said, frozen=True, kw_only=True):
    """Which file, from the experiment on."""

    path: str = ""


class ListOfRun(RunById, frozen=True, kw_only=True):
    """Which folder of a run."""

    path: str = ""


class FilesOfRun(Said, frozen=True, kw_only=True):
    """The files of a run's folder, and where they are."""

    root_uri: str
    files: list[wire.File]


class Files(Said, frozen=True, kw_only=True):
    """The files of a folder, by their names in it."""

    files: list[wire.File]


async def list_of_run(asked: Asked[ListOfRun]) -> FilesOfRun:
    """List the files of a folder of a run, by their paths from its root."""
    row = await reading.run(asked.parts.database, asked.said.run_id)
    root = f"{row['experiment_id']}/{row['id']}/artifacts"
    folder = "/".join(_segments(asked.said.path))
    files = await _listed(asked, f"{root}/{folder}" if folder else root)
    prefix = f"{folder}/" if folder else ""
    files = [wire.File(path=prefix + file.path, is_dir=file.is_dir, file_size=file.file_size) for file in files]
    return FilesOfRun(root_uri=reading.artifact_uri(row["experiment_id"], row["id"]), files=files)


async def list_folder(asked: Asked[ArtifactPath]) -> Files:
    """List the files of a folder."""
    path = await _checked(asked, Role.VIEWER)
    return Files(files=await _listed(asked, path))


async def download(asked: Asked[ArtifactPath]) -> web.StreamResponse:
    """Send a file."""
    path = await _checked(asked, Role.VIEWER)
    chunks = asked.parts.store.stream(artifact_key(path))
    first = await anext(chunks, b"")  # that it is not there shows before the answer begins
    name = Path(path).name.replace('"', "")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/plain; charset=utf-8" if kind == "text/html" else kind,  # no page of ours
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
            "Cache-Control": "no-store",
        }
    )
    await response.prepare(asked.request)
    await response.write(first)
    async for chunk in chunks:
        async with asyncio.timeout(sse.SLOW_S):
            await response.write(chunk)
    await response.write_eof()
    return response


async def upload(asked: Asked[ArtifactPath]) -> Empty:
    """Take a file. It goes on to the store as it comes, which shows it once it is there whole."""
    path = await _checked(asked, Role.EDITOR)
    async with asked.request.app[UPLOADS].place(principal.get().user_id):
        await asked.parts.store.put_stream(artifact_key(path), _received(asked.request))
    return Empty()


async def delete(asked: Asked[ArtifactPath]) -> Empty:
    """Delete a file, or a folder with all that is in it."""
    path = await _checked(asked, Role.EDITOR)
    if len(path.split("/")) < 3:  # experiment, owner, artifacts
        raise Rejected("only what is under the artifacts of a run or a model can be deleted", status=400)
    await asked.parts.store.delete_below(f"{artifact_key(path)}/")
    await asked.parts.store.delete(artifact_key(path))
    return Empty()


async def _received(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body. Raises Rejected when it is too long, or comes too slowly or not whole."""
    num_bytes, deadline_s = 0, asyncio.get_running_loop().time() + MAX_UPLOAD_S
    while True:
        try:
            async with asyncio.timeout_at(deadline_s), asyncio.timeout(STALL_S):
                chunk = await request.content.readany()
        except TimeoutError as error:
            reason = f"nothing came for {STALL_S:.0f} s, or not all within {MAX_UPLOAD_S:.0f} s"
            raise Rejected(reason, status=HTTPStatus.REQUEST_TIMEOUT) from error
        except (ClientError, ConnectionError) as error:
            raise Rejected("the file did not come whole", status=HTTPStatus.BAD_REQUEST) from error
        if not chunk:
            return
        num_bytes += len(chunk)
        if num_bytes > MAX_UPLOAD_BYTES:
            raise Rejected(f"an artifact has at most {MAX_UPLOAD_BYTES:,} bytes", status=HTTPStatus.BAD_REQUEST)
        yield chunk


async def _checked(asked: Asked[ArtifactPath], needed: Role) -> str:
    """Return a path that who asks may use. Raises Rejected."""
    segments = _segments(asked.said.path)
    if not segments:
        raise Rejected("the path must begin with an experiment's id", status=400)
    row = await reading.experiment(asked.parts.database, segments[0], needed)
    if needed is not Role.VIEWER:
        reading.check_active(row, "experiment")
    return "/".join(segments)


def _segments(path: str) -> list[str]:
    """Return the parts of a path. Raises Rejected when it could lead elsewhere."""
    segments = [segment for segment in path.split("/") if segment]
    bad = [segment for segment in segments if segment in (".", "..") or not _SEGMENT.fullmatch(segment)]
    if bad or len(path.encode()) > MAX_PATH:
        problem = Problem("path", f"{path[:100]!r} is no path of an artifact", f"at most {MAX_PATH} bytes, no ..")
        raise Rejected("the path has mistakes", (problem,), status=HTTPStatus.BAD_REQUEST)
    return segments


async def _listed(asked: "Asked[ListOfRun] | Asked[ArtifactPath]", path: str) -> list[wire.File]:
    """Return what is in a folder; nothing of what is a file or not there."""
    found = await asked.parts.store.listed(f"{artifact_key(path)}/", MAX_FILES)
    return [wire.File(path=name, is_dir=size is None, file_size=size) for name, size in found]


OPERATIONS: tuple[Operation, ...] = (
    operation("GET", "artifacts/list", ListOfRun, list_of_run, looks=True),
    operation("GET", "artifacts", ArtifactPath, list_folder, looks=True, prefix=ARTIFACTS_PREFIX),
    operation("GET", "artifacts/{path:.+}", ArtifactPath, download, looks=True, prefix=ARTIFACTS_PREFIX),
    operation("PUT", "artifacts/{path:.+}", ArtifactPath, upload, prefix=ARTIFACTS_PREFIX),
    operation("DELETE", "artifacts/{path:.+}", ArtifactPath, delete, prefix=ARTIFACTS_PREFIX),
)
