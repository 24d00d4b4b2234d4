"""Webhooks: where what happens is posted."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import intents
from services.gateway.api import MAX_SEQ, PREFIX, Body, Call, NoQuery, Query, get, json_response, post, read_body
from services.gateway.problems import not_found
from services.gateway.views.webhooks import NewWebhook, WebhookList, WebhookState, WebhookView
from services.gateway.webhooks import signature, target
from services.gateway.webhooks.hooks import Hook, made
from shared import ids
from shared.errors import Problem, Rejected
from shared.events import CATALOGUE, WebhookCreated, WebhookDeleted, WebhookReplayed
from shared.ids import WebhookId

MAX_WEBHOOKS = 100


class WantedWebhook(Body, frozen=True, kw_only=True):
    """Where to post, and events of which names; without any, all of them."""

    url: Annotated[str, Meta(max_length=target.MAX_URL)]
    events: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=200)] = ()


class WantedReplay(Body, frozen=True, kw_only=True):
    """From which event on to post again."""

    from_seq: Annotated[int, Meta(ge=0, le=MAX_SEQ)]


async def list_webhooks(call: Call[Query]) -> WebhookList:
    """All webhooks, oldest first."""
    return WebhookList(items=[view(hook) for hook in call.parts.webhooks.hooks.known.values()])


async def create(call: Call[NoQuery]) -> web.StreamResponse:
    """Post events from now on. The secret is shown once."""
    asked, webhooks = await read_body(call.request, WantedWebhook), call.parts.webhooks
    unknown = tuple(Problem("events", f"{name!r} is no event") for name in asked.events if name not in CATALOGUE)
    if unknown:
        raise Rejected("the webhook names events that there are not; docs/reference/events.md lists them", unknown)
    if len(webhooks.hooks.known) >= MAX_WEBHOOKS:
        raise Rejected(f"there are {MAX_WEBHOOKS} webhooks; delete one first", status=HTTPStatus.CONFLICT)
    await target.check_url(asked.url, webhooks.allowed)
    event = WebhookCreated(webhook_id=ids.new_webhook_id(), url=asked.url, events=tuple(dict.fromkeys(asked.events)))
    secret = signature.new_secret()
    await call.access.secrets.set_webhook_secret(event.webhook_id, secret)
    seq = await intents.administer(call.parts.client, event)
    await webhooks.wait(seq)
    hook = webhooks.hooks.known.get(event.webhook_id) or made(event, datetime.now(UTC), seq)  # it may come late
    answer = NewWebhook(webhook=view(hook), secret=secret)
    return json_response(answer, seq=seq, status=HTTPStatus.CREATED)


async def delete(call: Call[NoQuery]) -> web.StreamResponse:
    """Post nothing more."""
    hook = _find(call, call.id("webhook"))
    seq = await intents.administer(call.parts.client, WebhookDeleted(webhook_id=hook.webhook_id))
    await call.parts.webhooks.wait(seq)
    await call.access.secrets.forget_webhook(hook.webhook_id)
    return json_response(view(hook), seq=seq)


async def replay(call: Call[NoQuery]) -> web.StreamResponse:
    """Post from an event on, again or at last; a dead webhook is alive after that."""
    asked, hook = await read_body(call.request, WantedReplay), _find(call, call.id("webhook"))
    event = WebhookReplayed(webhook_id=hook.webhook_id, from_seq=asked.from_seq)
    seq = await intents.administer(call.parts.client, event)
    await call.parts.webhooks.wait(seq)
    return json_response(view(_find(call, hook.webhook_id)), seq=seq)


def view(hook: Hook) -> WebhookView:
    """Return what the API shows of a webhook."""
    return WebhookView(
        id=hook.webhook_id,
        url=hook.url,
        events=sorted(hook.events),
        created_at=hook.created_at,
        state=WebhookState.ALIVE if hook.died is None else WebhookState.DEAD,
        failed_seq=hook.died.seq if hook.died else None,
        reason=hook.died.reason if hook.died else None,
    )


def _find(call: Call[NoQuery], webhook_id: str) -> Hook:
    hook = call.parts.webhooks.hooks.known.get(WebhookId(webhook_id))
    if hook is None:
        raise not_found("webhook", webhook_id[:100])
    return hook


_ONE = f"{PREFIX}/webhooks/{{id}}"

ROUTES = (
    get(f"{PREFIX}/webhooks", list_webhooks, Query, WebhookList, "List the webhooks"),
    post(
        f"{PREFIX}/webhooks",
        create,
        NewWebhook,
        "Have events posted to an address, signed; the secret is shown this once",
        status=HTTPStatus.CREATED,
        body=WantedWebhook,
        problems=(400, 409, 422),
        query=NoQuery,
        holds_secret=True,
    ),
    post(_ONE, delete, WebhookView, "Delete a webhook", problems=(404, 409), method="DELETE", query=NoQuery),
    post(
        f"{_ONE}/replay",
        replay,
        WebhookView,
        "Post again from an event on",
        body=WantedReplay,
        problems=(400, 404, 409, 422),
        query=NoQuery,
    ),
)
