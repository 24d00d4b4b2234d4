"""Appends what MLflow's clients say, and waits until it is shown: they read at once what they wrote.

A change is decided by the row that the read model shows, and expects that row's newest event to be the last one: when
somebody was faster, the broker refuses it, and it is decided again by what holds then.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

import nats.errors
from aiohttp import web
from nats.aio.client import Client

from services.gateway.access.access import principal
from services.gateway.api import Parts
from shared import log, subjects, volume
from shared.errors import Conflict, Unavailable
from shared.events import Event
from shared.ids import TrialId
from shared.volume import MetricBatch

TRIES = 5
PUBLISH_TIMEOUT_S = 2.0
AGENT = "gateway"  # in place of an agent's name where metrics are published

ResultT = TypeVar("ResultT")


class Tracking:
    """What one gateway remembers of those who track: who changes what now, and the newest metrics it has stored."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.newest_metrics = 0

    @asynccontextmanager
    async def changing(self, scope: str) -> AsyncIterator[None]:
        """Be the only one here who changes this: threads of one client do not get in each other's way."""
        lock = self._locks.get(scope)
        if lock is None:
            lock = self._locks[scope] = asyncio.Lock()
        async with lock:
            yield


TRACKING = web.AppKey("tracking", Tracking)


async def say(parts: Parts, event: Event, *, expected: int, scope: str | None = None) -> bool:
    """Append an event and return whether it is shown; it is on the log also when that takes too long.

    Raises Conflict.
    """
    about = getattr(event, "experiment_id", event.aggregate_id)
    actor = principal.get().user_id
    envelope = log.envelope_of(event, writer=subjects.GATEWAY, actor=actor, correlation=about)
    return await parts.position.shown(await log.append_once(parts.client, envelope, expected=expected, scope=scope))


async def settle(parts: Parts, tracking: Tracking, scope: str, change: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Carry out a change; when somebody was faster, again once everything that is on the scope is shown.

    Raises Conflict when that does not end.
    """
    async with tracking.changing(scope):
        for _ in range(TRIES):
            try:
                return await change()
            except Conflict:
                await parts.position.wait(await newest_seq(parts.client, scope))
        return await change()


async def newest_seq(client: Client, scope: str) -> int:
    """Return the sequence of the last event on a scope, 0 for none."""
    newest = await log.last_of(client, scope)
    return newest.seq if newest else 0


async def publish(client: Client, batches: Iterable[MetricBatch]) -> int:
    """Store metrics on their stream and return the last one's sequence. Raises Unavailable.

    Storing a batch twice changes nothing.
    """
    seq = 0
    for batch in batches:
        subject = subjects.metrics_subject(AGENT, TrialId(batch.trial_id))
        try:
            stored = await client.jetstream().publish(subject, volume.encode(batch), timeout=PUBLISH_TIMEOUT_S)
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the broker did not take the metrics: {error!r}") from error
        seq = stored.seq
    return seq
