"""Checkpoints: what is in them, and their bytes."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from http import HTTPStatus

from aiohttp import web

from services.gateway import decide, intents, queries, tarball
from services.gateway.api import PREFIX, Call, NoQuery, PastQuery, Query, get, json_response, post
from services.gateway.problems import not_found
from services.gateway.views.checkpoints import Checkpoint
from shared.errors import NotFound
from shared.objectstore import checkpoint_key, manifest_key

BYTES, TAR = "application/octet-stream", "application/x-tar"


async def show_checkpoint(call: Call[PastQuery]) -> Checkpoint:
    """One checkpoint and its manifest."""
    async with call.reading() as database:
        return await queries.checkpoint(database, call.id("checkpoint"))


async def download_file(call: Call[Query]) -> web.StreamResponse:
    """One file of a checkpoint."""
    checkpoint, path = (
        await queries.checkpoint(call.parts.database, call.id("checkpoint")),
        call.request.match_info["path"],
    )
    file = next((file for file in checkpoint.files if file.path == path), None)
    if file is None:
        raise not_found("file", f"{path} in checkpoint {checkpoint.id}")
    headers = {"Content-Type": BYTES, "Content-Disposition": "attachment", "ETag": f'"{file.sha256}"'}
    return await _send(call, checkpoint.id, headers, file.size_bytes, _open(call, checkpoint.id, path))


async def download_archive(call: Call[Query]) -> web.StreamResponse:
    """All files of a checkpoint as one tar archive."""
    checkpoint = await queries.checkpoint(call.parts.database, call.id("checkpoint"))
    for file in checkpoint.files:
        tarball.check_path(file.path)
    entries: Sequence[tarball.Entry] = [
        tarball.Entry(path=file.path, size_bytes=file.size_bytes, open=partial(_open, call, checkpoint.id, file.path))
        for file in checkpoint.files
    ]
    headers = {"Content-Type": TAR, "Content-Disposition": f'attachment; filename="{checkpoint.id}.tar"'}
    size_bytes = tarball.size_bytes(entries, checkpoint.saved_at)
    return await _send(call, checkpoint.id, headers, size_bytes, tarball.stream(entries, checkpoint.saved_at))


async def delete_checkpoint(call: Call[NoQuery]) -> web.StreamResponse:
    """Have a checkpoint's files deleted."""
    database, checkpoint_id = call.parts.database, call.id("checkpoint")
    checkpoint = await queries.checkpoint(database, checkpoint_id)
    await call.check_unchanged(partial(queries.checkpoint, database, checkpoint_id))
    trial = await queries.trial(database, checkpoint.trial_id)
    decide.check_deletion(checkpoint, trial, await queries.starts_from(database, checkpoint_id))
    seq = await intents.delete_checkpoint(call.parts.client, checkpoint)
    await call.parts.position.wait(seq)
    return json_response(await queries.checkpoint(database, checkpoint_id), seq=seq, status=HTTPStatus.ACCEPTED)


def _open(call: Call[Query], checkpoint_id: str, path: str) -> AsyncIterator[bytes]:
    return call.parts.store.stream(checkpoint_key(checkpoint_id, path))


async def _send(
    call: Call[Query], checkpoint_id: str, headers: dict[str, str], size_bytes: int, chunks: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send the bytes as they come; a client that waits, makes the object store wait."""
    if not await call.parts.store.exists(manifest_key(checkpoint_id)):
        raise NotFound(f"checkpoint {checkpoint_id}")
    response = web.StreamResponse(headers=headers)
    response.content_length = size_bytes
    await response.prepare(call.request)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


ROUTES = (
    get(f"{PREFIX}/checkpoints/{{id}}", show_checkpoint, PastQuery, Checkpoint, "Show a checkpoint", is_cached=True),
    post(
        f"{PREFIX}/checkpoints/{{id}}/delete",
        delete_checkpoint,
        Checkpoint,
        "Delete a checkpoint",
        query=NoQuery,
        status=HTTPStatus.ACCEPTED,
        problems=(404, 409, 412),
    ),
    get(f"{PREFIX}/checkpoints/{{id}}/files/{{path:.+}}", download_file, Query, BYTES, "Download one file"),
    get(f"{PREFIX}/checkpoints/{{id}}/archive", download_archive, Query, TAR, "Download all files as a tar archive"),
)
