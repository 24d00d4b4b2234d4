"""The connection to NATS, its streams and its bucket of secrets. The only file that imports nats, with shared.log."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from shared import settings, subjects

CONNECT_TIMEOUT_S = 2
RECONNECT_WAIT_S = 0.2
MAX_PENDING_BYTES = 64 * 1024 * 1024  # what we hold for a server that is away; publishing beyond it raises

METRICS_MAX_AGE = timedelta(days=365)
LOGS_MAX_AGE = timedelta(days=30)
VOLUME_MAX_BYTES = 8 * 1024**3

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def connect(url: str, name: str) -> AsyncIterator[Client]:
    """Connect for as long as the context lasts, reconnecting for ever; drain at the end.

    `url` may name several servers of a cluster, with commas between them; tls:// demands TLS.
    """
    servers = url.split(",")

    async def on_error(error: Exception) -> None:
        _log.warning("broker error", extra={"error": repr(error)})

    owner = asyncio.current_task()
    is_leaving = False

    async def on_closed() -> None:
        """The client has given up on its connection for good: so must the process, to be started again."""
        if not is_leaving and owner is not None:
            _log.error("the broker connection is closed for good; this process ends")
            owner.cancel()

    num_before = _num_cancellations()
    client = await nats.connect(
        servers,
        tls=settings.tls_context() if servers[0].startswith("tls:") else None,
        name=name,
        connect_timeout=CONNECT_TIMEOUT_S,
        reconnect_time_wait=RECONNECT_WAIT_S,
        max_reconnect_attempts=-1,
        pending_size=MAX_PENDING_BYTES,
        error_cb=on_error,
        closed_cb=on_closed,
        inbox_prefix=f"_INBOX.{urlsplit(servers[0]).username or 'anonymous'}",  # all that a service may subscribe to
    )
    try:
        if _num_cancellations() > num_before:
            raise asyncio.CancelledError
        yield client
    finally:
        is_leaving = True
        if client.is_connected:
            await client.drain()
        else:
            with contextlib.suppress(OSError):  # nobody is there to say goodbye to
                await client.close()


def raise_if_cancelled() -> None:
    """Raise CancelledError when the current task was cancelled; for loops that only cancellation ends.

    A cancellation is lost when it comes while nats flushes, or at the very moment an `asyncio.wait_for` of its is
    answered (Python 3.11): without this a service would now and then survive SIGTERM.
    """
    if _num_cancellations():
        raise asyncio.CancelledError


def _num_cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


async def create_streams(client: Client, *, replicas: int = 1) -> None:
    """Create the streams and the bucket that do not exist yet; an existing one is left as it is."""
    jetstream = client.jetstream()
    for config in (_events(replicas), _volume(subjects.METRICS, subjects.ALL_METRICS, METRICS_MAX_AGE, replicas),
                   _volume(subjects.LOGS, subjects.ALL_LOGS, LOGS_MAX_AGE, replicas)):  # fmt: skip
        assert config.name is not None
        try:
            await jetstream.stream_info(config.name)
        except NotFoundError:
            await jetstream.add_stream(config)
    try:
        await jetstream.key_value(subjects.SECRETS)
    except NotFoundError:
        await jetstream.create_key_value(KeyValueConfig(bucket=subjects.SECRETS, direct=True, replicas=replicas))


def _events(replicas: int) -> StreamConfig:
    """The truth: kept for ever, neither deletable nor purgeable, appended to in atomic batches."""
    return StreamConfig(
        name=subjects.EVENTS,
        subjects=[subjects.ALL_EVENTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=replicas,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
        allow_atomic=True,
    )


def _volume(name: str, subject: str, max_age: timedelta, replicas: int) -> StreamConfig:
    """Volume that no decision depends on: the oldest goes when it is too old or too much."""
    return StreamConfig(
        name=name,
        subjects=[subject],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=max_age.total_seconds(),
        max_bytes=VOLUME_MAX_BYTES,
        num_replicas=replicas,
        allow_direct=True,
    )
