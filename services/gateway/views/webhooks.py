"""Where events are posted."""

from datetime import datetime
from enum import StrEnum

from services.gateway.views.view import View


class WebhookState(StrEnum):
    """A dead webhook was refused too often, and waits for a replay."""

    ALIVE = "ALIVE"
    DEAD = "DEAD"


class WebhookView(View, frozen=True, kw_only=True):
    """Where events are posted; without names, all of them. A dead one posts nothing until it is replayed."""

    id: str
    url: str
    events: list[str]
    created_at: datetime
    state: WebhookState
    failed_seq: int | None
    reason: str | None


class NewWebhook(View, frozen=True, kw_only=True):
    """A webhook, and what its messages are signed with: shown this once."""

    webhook: WebhookView
    secret: str


class WebhookList(View, frozen=True, kw_only=True):
    """All webhooks, oldest first."""

    items: list[WebhookView]
