"""The webhooks: a fold of the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.events import WebhookCreated, WebhookDeleted, WebhookDied, WebhookReplayed
from shared.ids import WebhookId
from shared.log import Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One webhook. `generation` is the sequence of what last said where it begins: its creation, or a replay."""

    webhook_id: WebhookId
    url: str
    events: frozenset[str]
    created_at: datetime
    begins_after: int
    generation: int
    died: WebhookDied | None = None


@dataclass(slots=True)
class Hooks:
    """Those that were not deleted."""

    known: dict[WebhookId, Hook] = field(default_factory=dict)

    @property
    def alive(self) -> Mapping[WebhookId, Hook]:
        """Those that post."""
        return {webhook_id: hook for webhook_id, hook in self.known.items() if hook.died is None}


def made(event: WebhookCreated, at: datetime, seq: int) -> Hook:
    """Return a webhook as it is in its first moment."""
    return Hook(
        webhook_id=event.webhook_id,
        url=event.url,
        events=frozenset(event.events),
        created_at=at,
        begins_after=seq,
        generation=seq,
    )


def evolve(hooks: Hooks, recorded: Recorded) -> None:
    """Fold one event."""
    match recorded.event:
        case WebhookCreated(webhook_id=webhook_id) as created:
            hooks.known[webhook_id] = made(created, recorded.envelope.time, recorded.seq)
        case WebhookDeleted(webhook_id=webhook_id):
            hooks.known.pop(webhook_id, None)
        case WebhookDied(webhook_id=webhook_id) as died if hook := hooks.known.get(webhook_id):
            hooks.known[webhook_id] = replace(hook, died=died)
        case WebhookReplayed(webhook_id=webhook_id, from_seq=from_seq) if hook := hooks.known.get(webhook_id):
            again = replace(hook, begins_after=max(0, from_seq - 1), generation=recorded.seq, died=None)
            hooks.known[webhook_id] = again
