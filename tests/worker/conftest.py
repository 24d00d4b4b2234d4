"""The cluster that agents are tested in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.settings import S3Settings
from tests.support.servers import NatsServer
from tests.worker.cluster import Cluster, cluster


@pytest.fixture
async def tm(nats_server: NatsServer, s3: S3Settings, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A log, an object store and the other services, played by hand."""
    async with cluster(nats_server, s3, tmp_path) as running:
        yield running
