"""The object store on a real S3 server: what is not there, what is refused, what is away."""

from dataclasses import replace

import pytest

from shared.errors import Refused, Unavailable
from shared.objectstore import NotFound, ObjectStore
from shared.settings import S3Settings
from trainmaster.embedded.program import free_port


async def test_what_is_put_comes_back(s3: S3Settings) -> None:
    store = ObjectStore(s3)
    await store.put("code/a", b"hello")
    assert await store.exists("code/a")
    assert await store.get("code/a") == b"hello"


async def test_what_is_not_there_is_not_found(s3: S3Settings) -> None:
    store = ObjectStore(s3)
    assert not await store.exists("code/b")
    with pytest.raises(NotFound):
        await store.get("code/b")


async def test_a_wrong_key_is_refused_rather_than_tried_for_ever(s3: S3Settings) -> None:
    with pytest.raises(Refused):
        await ObjectStore(replace(s3, secret_key="wrong")).put("code/a", b"hello")


async def test_a_server_that_is_away_is_unavailable(s3: S3Settings) -> None:
    away = ObjectStore(replace(s3, endpoint=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unavailable):
        await away.put("code/a", b"hello")
