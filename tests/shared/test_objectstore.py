"""The object store on a real S3 server and in a directory: what is not there, what is refused, what is away."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from shared.errors import NotFound, Refused, Rejected, Unavailable
from shared.objectstore import ObjectStore
from shared.pace import Pace
from shared.settings import S3Settings
from tests.support.eventually import PATIENCE_S
from tests.support.fixtures import on_each_store
from trainmaster.embedded.program import free_port


@on_each_store
async def test_what_is_put_comes_back(store: S3Settings, tmp_path: Path) -> None:
    objects = ObjectStore(store)
    await objects.put("code/a", b"hello")
    assert await objects.exists("code/a")
    assert await objects.get("code/a") == b"hello"
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    await objects.put_file("code/a", tmp_path / "file")
    await objects.get_file("code/a", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == b"x" * 3_000_000


@on_each_store
async def test_what_comes_in_pieces_is_stored_whole_or_not_at_all(store: S3Settings) -> None:
    objects = ObjectStore(store)

    async def pieces(num_bytes: int, error: Exception | None = None) -> AsyncIterator[bytes]:
        for begin in range(0, num_bytes, 700_000):
            yield bytes([begin % 251]) * min(700_000, num_bytes - begin)
        if error is not None:
            raise error

    for num_bytes in (0, 5, 8 * 1024 * 1024, 20_000_000):
        await objects.put_stream("artifacts/x", pieces(num_bytes))
        expected = b"".join([piece async for piece in pieces(num_bytes)])
        assert await objects.get("artifacts/x") == expected, num_bytes
    with pytest.raises(Rejected, match="broke off"):
        await objects.put_stream("artifacts/y", pieces(20_000_000, Rejected("broke off")))
    assert not await objects.exists("artifacts/y")
    with pytest.raises(Rejected, match="broke off"):
        await objects.put_stream("artifacts/x", pieces(20, Rejected("broke off")))
    assert await objects.get("artifacts/x") == expected


async def test_a_stream_that_is_given_up_leaves_nothing(directory: S3Settings) -> None:
    objects, asked = ObjectStore(directory), asyncio.Event()

    async def never() -> AsyncIterator[bytes]:
        yield b"begun"
        asked.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(objects.put_stream("artifacts/x", never()))
    async with asyncio.timeout(PATIENCE_S):
        await asked.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
    assert not await objects.exists("artifacts/x")


@on_each_store
async def test_what_is_in_a_folder_is_listed(store: S3Settings) -> None:
    objects = ObjectStore(store)
    for key in ("artifacts/x/b", "artifacts/x/a/deep", "artifacts/x/c"):
        await objects.put(key, b"hello")
    assert await objects.listed("artifacts/x/", 10) == [("a", None), ("b", 5), ("c", 5)]
    assert await objects.listed("artifacts/x/b/", 10) == [] == await objects.listed("artifacts/y/", 10)
    for _ in range(2):
        await objects.delete("artifacts/x/b")
    assert await objects.listed("artifacts/x/", 10) == [("a", None), ("c", 5)]


@on_each_store
async def test_what_is_not_there_is_not_found(store: S3Settings, tmp_path: Path) -> None:
    objects = ObjectStore(store)
    await objects.put("code/a/b", b"hello")
    for key in ("code/b", "code/a", "code/a/b/c"):
        assert not await objects.exists(key)
        with pytest.raises(NotFound):
            await objects.get(key)
        with pytest.raises(NotFound):
            await objects.get_file(key, tmp_path / "copy")


@on_each_store
async def test_a_folder_is_deleted_whole_and_alone(store: S3Settings) -> None:
    objects = ObjectStore(store)
    for key in ("checkpoints/a/manifest.json", "checkpoints/a/state/x", "checkpoints/ab/manifest.json"):
        await objects.put(key, b"1")
    assert await objects.delete_below("checkpoints/a/") == 2
    assert await objects.delete_below("checkpoints/a/") == 0
    assert await objects.exists("checkpoints/ab/manifest.json")


async def test_a_wrong_key_is_refused_rather_than_tried_for_ever(s3: S3Settings) -> None:
    with pytest.raises(Refused):
        await ObjectStore(replace(s3, secret_key="wrong")).put("code/a", b"hello")


async def test_a_server_that_is_away_is_unavailable(s3: S3Settings) -> None:
    away = ObjectStore(replace(s3, endpoint=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unavailable):
        await away.put("code/a", b"hello")


async def test_a_share_that_is_not_mounted_is_away_and_says_nothing_of_what_it_holds(directory: S3Settings) -> None:
    objects = ObjectStore(directory)
    assert directory.directory is not None
    shutil.rmtree(directory.directory)
    with pytest.raises(Unavailable, match="mounted"):
        await objects.get("code/a")
    with pytest.raises(Unavailable):
        await objects.put("code/a", b"hello")


@pytest.mark.parametrize("key", ["../secret", "code/../../secret", "/etc/passwd", "code//a", "code/./a", "a\0b", ""])
async def test_no_key_leads_out_of_the_directory(directory: S3Settings, key: str) -> None:
    assert directory.directory is not None
    (directory.directory / "secret").write_bytes(b"mine")
    objects = ObjectStore(directory)
    with pytest.raises(NotFound):
        await objects.get(key)
    with pytest.raises(NotFound):
        await objects.put(key, b"hello")


async def test_a_file_that_cannot_be_stored_is_refused_and_leaves_nothing_behind(
    directory: S3Settings, tmp_path: Path
) -> None:
    objects = ObjectStore(directory)
    with pytest.raises(Refused):
        await objects.put("code/" + "x" * 300, b"hello")
    with pytest.raises(FileNotFoundError):
        await objects.put_file("code/a", tmp_path / "missing")
    assert directory.directory is not None
    partial = directory.directory / directory.bucket / ".partial"
    assert list(partial.iterdir()) == []
    for name, age_s in (("young", 60), ("old", 100_000)):
        (partial / name).touch()
        os.utime(partial / name, (time.time() - age_s,) * 2)
    await objects.ensure_bucket()
    assert [begun.name for begun in partial.iterdir()] == ["young"]


NUM_BUSY = 40  # more than all threads that asyncio has for calls that block


@pytest.mark.parametrize("what", ["put_file", "digest"])
async def test_what_takes_long_keeps_nothing_else_of_the_process_waiting(
    directory: S3Settings, tmp_path: Path, what: str
) -> None:
    objects, names, pipes = ObjectStore(directory), count(), [tmp_path / f"pipe-{n}" for n in range(NUM_BUSY)]
    read: Callable[[Path], Awaitable[object]] = (
        objects.digest if what == "digest" else lambda path: objects.put_file(f"code/{next(names)}", path)
    )
    await objects.put("code/small", b"hello")
    for pipe in pipes:
        os.mkfifo(pipe)  # which cannot be opened for reading before somebody writes
    busy = [asyncio.ensure_future(read(pipe)) for pipe in pipes]
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(len, "here") == 4
            assert await objects.get("code/small") == b"hello"
            await objects.get_file("code/small", tmp_path / "copy")
    finally:
        with ThreadPoolExecutor(NUM_BUSY) as writers:
            for pipe in pipes:
                writers.submit(pipe.write_bytes, b"x")
            await asyncio.gather(*busy, return_exceptions=True)  # nobody can tell where in a pipe they are


@pytest.mark.parametrize("pace", [None, Pace(1e15)])
async def test_no_file_has_too_many_parts(s3: S3Settings, tmp_path: Path, pace: Pace | None) -> None:
    large = tmp_path / "large"
    large.touch()
    away = ObjectStore(replace(s3, endpoint=f"http://127.0.0.1:{free_port()}"), pace)
    os.truncate(large, 800 * 2**30)  # beyond 10,000 parts of the usual length; on the disk it takes nothing
    with pytest.raises(Unavailable):  # so it would have been sent
        await away.put_file("code/a", large)
    os.truncate(large, 5 * 2**40 + 1)
    with pytest.raises(Refused, match="S3 takes"):
        await away.put_file("code/a", large)
