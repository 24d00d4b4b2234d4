"""A tracker and a gateway that run beside the test, over real servers."""

import asyncio
import contextlib
import gzip
import io
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from nats.aio.client import Client

from services.gateway.app import serve
from services.gateway.joining import Hosts
from services.gateway.settings import Settings
from services.scheduler.service import Scheduler
from services.tracker.service import serve as serve_tracker
from services.tracker.settings import Settings as TrackerSettings
from shared import broker
from shared.events import DEFAULT_POLICY
from shared.settings import S3Settings
from tests.support.eventually import eventually
from tests.support.servers import NatsServer
from trainmaster.compose.certificates import draw_authority
from trainmaster.embedded.program import free_port

ADMIN_TOKEN = "the administrator of the tests"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

CONFIG = """
name: digits
entrypoint: python train.py
hyperparameters: {lr: {type: log, minval: -4, maxval: -1}}
searcher: {name: random, metric: accuracy, smaller_is_better: false, max_trials: 2}
"""


HOSTS = Hosts(
    certificate_authority=draw_authority(datetime.now(UTC)).certificate,
    s3_endpoint="https://train.example.org:9443",
    s3_bucket="trainmaster",
    s3_access_key="key",
    s3_secret_key="secret",
    nats_urls={name: f"tls://worker-{name}:pw@train.example.org:4222" for name in ("host-1", "host-2")},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The gateway as a client sees it, and the log behind it."""

    http: aiohttp.ClientSession
    url: str
    log: Client
    settings: Settings

    async def get(self, path: str, status: int = 200, **query: object) -> Any:
        """Return a JSON answer that must have this status."""
        parameters = {name: str(value) for name, value in query.items()}
        async with self.http.get(f"{self.url}{path}", params=parameters) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)

    async def post(self, path: str, status: int = 200, **request: Any) -> Any:
        """Return the JSON answer to a POST that must have this status."""
        async with self.http.post(f"{self.url}{path}", **request) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)

    async def submit(self, config: str = CONFIG, code: bytes | None = None, status: int = 201) -> Any:
        """Return the answer to a submission."""
        return await self.post("/api/v1/experiments", status, data=form(config, archive() if code is None else code))


def form(config: str, code: bytes, name: str = "code") -> aiohttp.FormData:
    """A submission as a browser would send it."""
    data = aiohttp.FormData()
    data.add_field("config", io.BytesIO(config.encode()), filename="search.yaml")
    data.add_field(name, io.BytesIO(code), filename="code.tar.gz")
    return data


def archive(name: str = "train.py", body: bytes = b"print('training')\n", kind: bytes = tarfile.REGTYPE) -> bytes:
    """A code archive with one entry."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.linkname = kind, len(body), "/etc/passwd"
        tar.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


@contextlib.asynccontextmanager
async def running(*services: Any) -> AsyncIterator[None]:
    """Services for as long as the context lasts."""
    tasks = [asyncio.create_task(service) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def api(nats_server: NatsServer, postgres_url: str, s3: S3Settings) -> AsyncIterator[Api]:
    """A gateway that serves, and its tracker."""
    settings = Settings(
        nats_url=nats_server.url_as("gateway"),
        postgres_url=postgres_url,
        s3=s3,
        host="127.0.0.1",
        port=free_port(),
        admin_token=ADMIN_TOKEN,
        hosts=HOSTS,
    )
    tracker = TrackerSettings(nats_url=nats_server.url_as("tracker"), postgres_url=postgres_url)
    url = f"http://127.0.0.1:{settings.port}"
    async with (
        running(serve(settings), serve_tracker(tracker)),
        aiohttp.ClientSession(headers=AS_ADMIN) as http,
        broker.connect(nats_server.url, "test") as log,
    ):
        await eventually(lambda: _serves(http, url))
        yield Api(http=http, url=url, log=log, settings=settings)


@pytest.fixture
async def scheduled(api: Api, nats_server: NatsServer) -> AsyncIterator[Api]:
    """The same with a scheduler, in which no agent is ever lost."""
    async with broker.connect(nats_server.url_as("scheduler"), "scheduler") as client:
        scheduler = Scheduler(client, instance="main", agent_timeout_s=3600, policy=DEFAULT_POLICY)
        async with running(scheduler.run()):
            yield api


async def _serves(http: aiohttp.ClientSession, url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with http.get(f"{url}/readyz") as response:
            reasons = (await response.json())["reasons"]
            return not any("answer" in reason or "tracker" in reason for reason in reasons)
    return False
