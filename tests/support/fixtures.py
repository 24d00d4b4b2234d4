"""The fixtures that give tests real servers; tests/conftest.py makes them known to pytest."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from shared import broker
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.support.platform import RunningPlatform, start_platform, stop_platform
from tests.support.servers import PASSWORD, NatsServer, RunningServer, new_nats_server
from trainmaster.embedded import postgres
from trainmaster.embedded import s3 as s3_embedded
from trainmaster.embedded.program import free_port


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A NATS server of this test's own, with the three streams."""
    nats = new_nats_server(tmp_path / "nats")
    nats.server.start()
    try:
        async with broker.connect(nats.url, "test") as client:
            await broker.create_streams(client)
        yield nats
    finally:
        nats.server.stop()


@pytest.fixture(scope="session")
def postgres_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a PostgreSQL server that the whole session shares."""
    directory = tmp_path_factory.mktemp("postgres")
    port = free_port()
    server = RunningServer(postgres.postgres_program(directory / "cluster", port, PASSWORD), directory / "server.log")
    server.start()
    yield port
    server.stop()


@pytest.fixture
async def postgres_url(postgres_port: int) -> AsyncIterator[str]:
    """The URL of a fresh database."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(postgres.postgres_url(postgres_port, PASSWORD))
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield postgres.postgres_url(postgres_port, PASSWORD, name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Settings]:
    """An S3 server that the whole session shares."""
    directory = tmp_path_factory.mktemp("s3")
    port = free_port()
    server = RunningServer(
        s3_embedded.s3_program(directory / "buckets", port, "test", PASSWORD), directory / "server.log"
    )
    server.start()
    yield s3_embedded.s3_settings(port, "test", PASSWORD)
    server.stop()


@pytest.fixture
async def s3(s3_server: S3Settings) -> S3Settings:
    """Where the object store is, with a fresh bucket."""
    settings = S3Settings(
        endpoint=s3_server.endpoint,
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        bucket=f"test-{secrets.token_hex(6)}",
        region=s3_server.region,
    )
    await ObjectStore(settings).ensure_bucket()
    return settings


@pytest.fixture
async def directory(tmp_path: Path) -> S3Settings:
    """A directory in the object store's place."""
    root = tmp_path / "shared"
    settings = S3Settings(endpoint=f"file://{root}", access_key="", secret_key="", bucket="test", region="us-east-1")
    await ObjectStore(settings).ensure_bucket()
    return settings


@pytest.fixture
def store(request: pytest.FixtureRequest) -> S3Settings:
    """Where the object store is: an S3 server, unless the test runs `on_each_store`."""
    settings: S3Settings = request.getfixturevalue(getattr(request, "param", "s3"))
    return settings


on_each_store = pytest.mark.parametrize("store", ["s3", "directory"], indirect=True)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A whole platform with one agent of two CPU slots, shared by the session."""
    running = start_platform(tmp_path_factory.mktemp("platform"), "cpu:2")
    yield running
    stop_platform(running)
