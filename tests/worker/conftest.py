"""The cluster that agents are tested in."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.settings import S3Settings
from tests.support.servers import NatsServer
from tests.worker.cluster import Cluster, cluster
from tests.worker.forwarder import Forwarder


@pytest.fixture
async def tm(nats_server: NatsServer, store: S3Settings, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A log, an object store and the other services, played by hand."""
    async with cluster(nats_server, store, tmp_path) as running:
        yield running


@pytest.fixture
async def refusing_s3(s3: S3Settings) -> AsyncIterator[S3Settings]:
    """An object store that answers every request with AccessDenied."""

    async def refuse(request: web.Request) -> web.Response:
        await request.read()
        body = "<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>"
        return web.Response(status=403, text=body, content_type="application/xml")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", refuse)
    async with TestServer(application) as server:
        yield replace(s3, endpoint=f"http://127.0.0.1:{server.port}")


@pytest.fixture
async def way(tm: Cluster) -> AsyncIterator[Forwarder]:
    """A way to the object store."""
    forwarder = Forwarder(tm.s3.endpoint)
    yield forwarder
    forwarder.cut()
