"""Posts events to webhooks: in the log's order, each until it is taken, at least once.

Each webhook has a reader of the log of its own, so that a slow receiver holds up no other. How far it is lies beside
its secret, with the generation that it belongs to; a replay begins a new one. A message keeps its `webhook-id` in every
attempt, also when a gateway was killed between the answer and the note of it: a receiver that remembers them sees each
event once, also when two gateways run, which both post.
After MAX_ATTEMPTS the webhook is dead (WebhookDied) until somebody asks for a replay.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial

import aiohttp
import msgspec
from nats.aio.client import Client

from services.gateway import tap
from services.gateway.access.secrets import Secrets
from services.gateway.followed import Followed
from services.gateway.instruments import WEBHOOK_DELAY, WEBHOOK_POSTS
from services.gateway.webhooks import signature, target
from services.gateway.webhooks.hooks import Hook, Hooks, evolve
from services.gateway.webhooks.target import Forbidden, Network
from shared import log, subjects
from shared.errors import Conflict, Unavailable
from shared.events import WebhookDied
from shared.ids import WebhookId
from shared.log import Follower, Message

MAX_ATTEMPTS = 10
FIRST_PAUSE_S = 2.0  # doubled with each attempt: the last after about 17 minutes
MAX_PAUSE_S = 600.0
POST_TIMEOUT_S = 15.0
RETRY_S = 1.0
OK = range(200, 300)

_log = logging.getLogger(__name__)


class Webhooks:
    """Follows what the log says about webhooks, and has each post."""

    def __init__(
        self, client: Client, secrets: Secrets, allowed: Sequence[Network], *, pause_s: float = FIRST_PAUSE_S
    ) -> None:
        self.hooks = Hooks()
        self.allowed = tuple(allowed)
        self._client = client
        self._secrets = secrets
        self._pause_s = pause_s
        self._posting: dict[WebhookId, tuple[int, asyncio.Task[None]]] = {}
        self._followed = Followed(client, WebhookDied.aggregate, partial(evolve, self.hooks))
        self.wait = self._followed.wait

    async def run(self) -> None:
        """Post for ever."""
        connector = aiohttp.TCPConnector(resolver=target.PublicResolver(self.allowed), use_dns_cache=False, limit=32)
        timeout = aiohttp.ClientTimeout(total=POST_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as http,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                await self._followed.read()
                if self._followed.at_head:
                    self._keep_up(http, tasks)

    def _keep_up(self, http: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        alive = self.hooks.alive
        for webhook_id, (generation, task) in list(self._posting.items()):
            if webhook_id not in alive or alive[webhook_id].generation != generation:
                task.cancel()
                del self._posting[webhook_id]
        for webhook_id, hook in alive.items():
            if webhook_id not in self._posting:
                task = tasks.create_task(self._post_all(http, hook), name=f"webhook {webhook_id}")
                self._posting[webhook_id] = (hook.generation, task)

    async def _post_all(self, http: aiohttp.ClientSession, hook: Hook) -> None:
        """Post what comes until the webhook is dead."""
        secret, position = await self._begin(hook)
        if secret is None:
            await self._die(hook, position, 0, "its secret is gone; make another webhook")
            return
        filters = [subjects.event_filter(name=name) for name in sorted(hook.events)]
        follower = Follower(self._client, subjects.EVENTS, after=position, filters=filters)
        try:
            while True:
                for message in await follower.next():
                    reason = await self._deliver(http, hook, secret, message)
                    if reason is not None:
                        await self._die(hook, message.seq, MAX_ATTEMPTS, reason)
                        return
                    await self._note(hook, message)
        finally:
            await follower.close()

    async def _begin(self, hook: Hook) -> tuple[str | None, int]:
        while True:
            try:
                noted = await self._secrets.webhook_position(hook.webhook_id, hook.generation)
                return await self._secrets.webhook_secret(hook.webhook_id), max(noted, hook.begins_after)
            except Unavailable as error:
                _log.warning("waiting for the secrets", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)

    async def _deliver(self, http: aiohttp.ClientSession, hook: Hook, secret: str, message: Message) -> str | None:
        """Post one event until it is taken; return why it never was."""
        recorded = tap.decode(message)
        if recorded is None or recorded.envelope.name.startswith("Webhook"):  # news of webhooks would have no end
            return None
        item = tap.item(recorded, message.subject)
        body = msgspec.json.encode({"type": item.name, "timestamp": item.time, "data": item})
        reason = None
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await asyncio.sleep(min(self._pause_s * 2 ** (attempt - 1), MAX_PAUSE_S))
            reason = await self._post(http, hook, secret, f"{hook.webhook_id}.{recorded.seq}", body)
            WEBHOOK_POSTS.labels("taken" if reason is None else "refused").inc()
            if reason is None:
                WEBHOOK_DELAY.observe(max(0.0, time.time() - message.stored_at.timestamp()))
                return None
            _log.warning(
                "webhook refused", extra={"webhook_id": hook.webhook_id, "seq": recorded.seq, "reason": reason}
            )
        return reason

    async def _post(
        self, http: aiohttp.ClientSession, hook: Hook, secret: str, message_id: str, body: bytes
    ) -> str | None:
        headers = signature.headers(secret, message_id, int(time.time()), body) | {"Content-Type": "application/json"}
        try:
            target.check_literal(hook.url, self.allowed)
            async with http.post(hook.url, data=body, headers=headers, allow_redirects=False) as answer:
                return None if answer.status in OK else f"the answer was {answer.status}"
        except (Forbidden, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"[:500]

    async def _note(self, hook: Hook, message: Message) -> None:
        """Note how far the webhook is. What cannot be noted now is posted again after a restart, at worst."""
        try:
            await self._secrets.note_webhook_position(hook.webhook_id, hook.generation, message.seq)
        except Unavailable as error:
            _log.warning("position not noted", extra={"webhook_id": hook.webhook_id, "error": str(error)})

    async def _die(self, hook: Hook, seq: int, attempts: int, reason: str) -> None:
        """Say that the webhook is dead, unless somebody has changed it at the same moment."""
        event = WebhookDied(webhook_id=hook.webhook_id, seq=seq, attempts=attempts, reason=reason)
        envelope = log.envelope_of(event, writer=subjects.GATEWAY, actor=subjects.GATEWAY, correlation=hook.webhook_id)
        subject = subjects.aggregate_subject(subjects.GATEWAY, event.aggregate, event.aggregate_id)
        while True:
            try:
                last = await log.last_of(self._client, subject)
                await log.append_once(self._client, envelope, expected=last.seq if last else 0)
            except Conflict:
                return
            except Unavailable as error:
                _log.warning("waiting for the log", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)
            else:
                return
