"""The database is killed under the tracker and the gateway: both say so, wait, and go on."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from services.gateway.app import serve
from services.gateway.settings import Settings
from services.tracker.service import serve as serve_tracker
from services.tracker.settings import Settings as TrackerSettings
from shared import broker
from shared.settings import S3Settings
from tests.gateway.conftest import ADMIN_TOKEN, AS_ADMIN, Api, running
from tests.support.eventually import eventually
from tests.support.servers import PASSWORD, NatsServer, RunningServer
from tests.tracker import story
from trainmaster.embedded import postgres
from trainmaster.embedded.program import free_port


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[tuple[RunningServer, str]]:
    """A PostgreSQL server of this test's own."""
    port = free_port()
    server = RunningServer(postgres.postgres_program(tmp_path / "cluster", port, PASSWORD), tmp_path / "postgres.log")
    server.start()
    admin = await asyncpg.connect(postgres.postgres_url(port, PASSWORD))
    await admin.execute("CREATE DATABASE outage")
    await admin.close()
    yield server, postgres.postgres_url(port, PASSWORD, "outage")
    server.stop()


async def test_a_killed_database_and_a_killed_broker_are_waited_for(
    nats_server: NatsServer, database: tuple[RunningServer, str], s3: S3Settings
) -> None:
    server, postgres_url = database
    settings = Settings(
        nats_url=nats_server.url_as("gateway"),
        postgres_url=postgres_url,
        s3=s3,
        host="127.0.0.1",
        port=free_port(),
        admin_token=ADMIN_TOKEN,
    )
    tracker = TrackerSettings(nats_url=nats_server.url_as("tracker"), postgres_url=postgres_url)
    async with (
        running(serve(settings), serve_tracker(tracker)),
        aiohttp.ClientSession(headers=AS_ADMIN) as http,
        broker.connect(nats_server.url, "test") as log,
    ):
        api = Api(http=http, url=f"http://127.0.0.1:{settings.port}", log=log, settings=settings)
        whole = story.whole_search()
        await story.tell(log, whole[:8])
        await eventually(lambda: _state(api, "ACTIVE"))
        server.kill()
        await api.get("/api/v1/experiments", 503)
        await story.tell(log, whole[8:15])
        server.start()
        await eventually(lambda: _has_best(api))
        nats_server.server.kill()
        nats_server.server.start()
        await eventually(lambda: log.stats["reconnects"] >= 1 and log.is_connected)
        await story.tell(log, whole[15:])
        await eventually(lambda: _state(api, "COMPLETED"), timeout_s=20)


async def _experiment(api: Api) -> dict[str, object]:
    try:
        async with api.http.get(f"{api.url}/api/v1/experiments/{story.EXPERIMENT}") as response:
            found: dict[str, object] = await response.json(content_type=None)
            return found
    except aiohttp.ClientError:
        return {}


async def _state(api: Api, state: str) -> bool:
    return (await _experiment(api)).get("state") == state


async def _has_best(api: Api) -> bool:
    return (await _experiment(api)).get("best") is not None
