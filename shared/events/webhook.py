"""Events of a webhook: where the platform tells others what happens (gateway). Its secret is not among them."""

from typing import ClassVar

from shared.events.event import Event
from shared.ids import WebhookId


class WebhookEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a webhook."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "webhook"
    aggregate_field: ClassVar[str] = "webhook_id"

    webhook_id: WebhookId


class WebhookCreated(WebhookEvent, frozen=True, kw_only=True):
    """From here on each event of these names (none: of any) is posted to an address, signed."""

    url: str
    events: tuple[str, ...] = ()


class WebhookDeleted(WebhookEvent, frozen=True, kw_only=True):
    """Nothing more is posted."""


class WebhookDied(WebhookEvent, frozen=True, kw_only=True):
    """An event was posted `attempts` times in vain; nothing more is posted until somebody asks for a replay."""

    seq: int
    attempts: int
    reason: str


class WebhookReplayed(WebhookEvent, frozen=True, kw_only=True):
    """Somebody asked for the events from this sequence on to be posted, again or at last."""

    from_seq: int
