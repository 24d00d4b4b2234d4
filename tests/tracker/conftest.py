"""A tracker that runs beside the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from nats.aio.client import Client

from services.tracker.service import serve
from services.tracker.settings import Settings
from shared import broker
from tests.support.servers import NatsServer


@contextlib.asynccontextmanager
async def running_tracker(settings: Settings) -> AsyncIterator[None]:
    """A tracker for as long as the context lasts."""
    task = asyncio.create_task(serve(settings), name="tracker under test")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def settings(nats_server: NatsServer, postgres_url: str) -> Settings:
    """The tracker's settings, with its own user of the broker."""
    return Settings(nats_url=nats_server.url_as("tracker"), postgres_url=postgres_url)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection that may publish anything."""
    async with broker.connect(nats_server.url, "test") as connected:
        yield connected


@pytest.fixture
async def tracker(settings: Settings) -> AsyncIterator[None]:
    """A running tracker."""
    async with running_tracker(settings):
        yield


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the tracker's database."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()
