"""An object store that breaks off again and again, and a limit on uploads: they go on, and are whole at the end."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from services.worker import checkpoints
from services.worker.allocation import Checkpoint
from services.worker.patience import Patience
from shared.ids import CheckpointId
from shared.objectstore import ObjectStore
from shared.pace import Pace
from shared.settings import S3Settings
from tests.support.fixtures import on_each_store
from tests.worker.test_checkpoints import write

ID = CheckpointId("e-1-a1-s5")
MB = 1_000_000


async def stored(store: ObjectStore, directory: Path) -> Checkpoint:
    files = await checkpoints.upload(store, ID, directory, Patience(print))
    return Checkpoint(checkpoint_id=ID, epoch=1, seq=1, step=5, world_size=1, files=files)


class BreakingProxy:
    """A way to the store that breaks off the first connections that send too much."""

    def __init__(self, target: S3Settings, *, break_after_bytes: int, num_breaks: int) -> None:
        self._url = urlsplit(target.endpoint)
        self._break_after_bytes = break_after_bytes
        self.num_left = num_breaks

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, in both directions, until one of them ends."""
        there, back = await asyncio.open_connection(self._url.hostname, self._url.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                forth = tasks.create_task(self._send(reader, back))
                answers = tasks.create_task(self._carry(there, writer))
                await asyncio.wait([forth, answers], return_when=asyncio.FIRST_COMPLETED)
                forth.cancel()
                answers.cancel()
        finally:
            for end in (writer, back):
                end.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        num_bytes = 0
        while body := await reader.read(65536):
            num_bytes += len(body)
            if num_bytes > self._break_after_bytes and self.num_left:
                self.num_left -= 1
                return
            writer.write(body)
            await writer.drain()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while body := await reader.read(65536):
            writer.write(body)
            await writer.drain()


@contextlib.asynccontextmanager
async def serving(proxy: BreakingProxy, target: S3Settings) -> AsyncIterator[S3Settings]:
    """Where a proxy listens, for as long as the context lasts."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.ensure_future(proxy.serve(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield replace(target, endpoint=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def test_an_upload_that_breaks_off_again_and_again_is_whole_at_the_end(s3: S3Settings, tmp_path: Path) -> None:
    files = {f"part-{number}": os.urandom(2 * MB) for number in range(3)}
    proxy = BreakingProxy(s3, break_after_bytes=MB, num_breaks=8)
    async with serving(proxy, s3) as breaking:
        checkpoint = await stored(ObjectStore(breaking), write(tmp_path / "written", files))
        assert proxy.num_left == 0, "the way to the store never broke off"
        await checkpoints.download(ObjectStore(s3), checkpoint, tmp_path / "read", Patience(print))
    assert {name: (tmp_path / "read" / name).read_bytes() for name in files} == files


@on_each_store
async def test_uploads_keep_to_their_limit_all_together(store: S3Settings, tmp_path: Path) -> None:
    files = {f"part-{number}": os.urandom(MB) for number in range(4)} | {"large": os.urandom(12 * MB)}
    objects = ObjectStore(store, Pace(10 * MB))
    started_at = time.monotonic()
    checkpoint = await stored(objects, write(tmp_path / "written", files))
    # A part goes in one burst when its turn has come, so the last one is sent before its time is over.
    assert time.monotonic() - started_at > 0.9
    await checkpoints.download(objects, checkpoint, tmp_path / "read", Patience(print))
    assert {name: (tmp_path / "read" / name).read_bytes() for name in files} == files
