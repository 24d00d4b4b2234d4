"""The servers that other tests rely on do what they promise."""

import asyncpg

from shared import broker, subjects
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.support.servers import NatsServer


async def test_the_streams_survive_a_killed_broker(nats_server: NatsServer) -> None:
    nats_server.server.kill()
    nats_server.server.start()
    async with broker.connect(nats_server.url, "test") as client:
        info = await client.jetstream().stream_info(subjects.EVENTS)
    assert info.config.deny_delete and info.config.deny_purge


async def test_each_test_has_an_empty_database(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    assert tables == 0


async def test_the_object_store_returns_what_it_was_given(s3: S3Settings) -> None:
    store = ObjectStore(s3)
    await store.put("a/b", b"body")
    assert await store.get("a/b") == b"body"
