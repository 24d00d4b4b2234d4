"""Sealing on a real broker: across restarts, and with two trackers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from nats.aio.client import Client

from services.tracker.auditor import Auditor, ensure_key
from services.tracker.seals import Rhythm
from shared import broker, subjects
from shared.audit.findings import Report
from shared.audit.verify import SEAL_SUBJECT, Verification
from shared.errors import Unavailable
from shared.events import AuditSealed
from shared.log import Follower, append, envelope_of, last_of
from tests.audit.sealed import KEY
from tests.shared.samples import SAMPLES
from tests.support.eventually import eventually
from tests.support.servers import NatsServer
from tests.tracker import story


@contextlib.asynccontextmanager
async def auditing(nats_server: NatsServer, rhythm: Rhythm) -> AsyncIterator[Auditor]:
    """An auditor with the tracker's credentials."""
    async with broker.connect(nats_server.url_as("tracker"), "tracker") as client:
        auditor = Auditor(client, KEY, rhythm)
        task = asyncio.create_task(auditor.run(), name="auditor under test")
        try:
            yield auditor
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def verify(client: Client) -> Report:
    """The report on the log as it stands."""
    verification = Verification([KEY.public])
    follower = Follower(client, subjects.EVENTS)
    while not follower.at_head:
        for message in await follower.next():
            verification.read(message.seq, message.subject, message.body)
    await follower.close()
    return verification.finish()


async def sealed(client: Client) -> int:
    """The sequence of the newest seal, 0 for none."""
    newest = await last_of(client, SEAL_SUBJECT)
    return newest.seq if newest is not None else 0


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection that may publish anything."""
    async with broker.connect(nats_server.url, "test") as connected:
        yield connected


async def test_the_log_is_sealed_across_restarts_and_verifies(nats_server: NatsServer, client: Client) -> None:
    rhythm = Rhythm(max_events=7, max_wait=timedelta(seconds=0.2))
    for _ in range(3):
        async with auditing(nats_server, rhythm):
            last = await story.tell(client, story.whole_search())

            async def is_sealed(last: int = last) -> bool:
                return (await verify(client)).sealed >= last

            await eventually(is_sealed)
    report = await verify(client)
    assert report.ok and report.num_seals >= 6 and report.unsealed < 7


async def test_of_two_trackers_one_seals(nats_server: NatsServer, client: Client) -> None:
    rhythm = Rhythm(max_events=10, max_wait=timedelta(hours=1))
    async with auditing(nats_server, rhythm) as one, auditing(nats_server, rhythm) as other:
        for _ in range(5):
            last = await story.tell(client, story.whole_search())
            await eventually(lambda last=last: min(one.sealed, other.sealed) > last - 10)  # type: ignore[misc]
    report = await verify(client)
    assert report.ok and report.num_seals == report.sealed // 10


async def test_a_quiet_log_gets_no_more_seals(nats_server: NatsServer, client: Client) -> None:
    async with auditing(nats_server, Rhythm(max_wait=timedelta(seconds=0.1))):
        last = await story.tell(client, story.whole_search())

        async def is_sealed() -> bool:  # a seal may come between two of the events
            return (await verify(client)).sealed >= last

        await eventually(is_sealed)
        follower = Follower(client, subjects.EVENTS, after=await sealed(client))
        for _ in range(3):  # each waits for a heartbeat of the broker
            assert await follower.next() == []
        await follower.close()


async def test_only_the_tracker_can_seal(nats_server: NatsServer) -> None:
    event = next(event for event in SAMPLES if isinstance(event, AuditSealed))
    envelope = envelope_of(event, writer="tracker", actor="tracker", correlation="audit")
    async with broker.connect(nats_server.url_as("worker-a1"), "worker-a1") as client:
        refused = asyncio.create_task(append(client, [envelope], expected=0))
        with pytest.raises(Unavailable):
            await refused


def test_the_key_is_drawn_once_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    key = ensure_key(path)
    assert ensure_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert bytes.fromhex((tmp_path / "audit.pub").read_text()) == key.public
    assert sorted(one.name for one in tmp_path.iterdir()) == ["audit.key", "audit.pub"]
