"""Makes the streams and the bucket once the servers answer; doing it again changes nothing."""

import asyncio
import os

from shared import broker, settings
from shared.objectstore import ObjectStore
from shared.settings import S3Settings

TIMEOUT_S = 60.0
MAX_REPLICAS = 3  # a fourth copy costs each append, and protects little


async def init() -> None:
    """Create what is missing. Raises TimeoutError when a server stays away."""
    async with asyncio.timeout(TIMEOUT_S):
        async with broker.connect(settings.nats_url(), "init") as client:
            await broker.create_streams(client, replicas=min(int(os.environ.get("TM_NATS_NODES", "1")), MAX_REPLICAS))
        await ObjectStore(S3Settings.from_environment()).ensure_bucket()
