"""Sentences of users, their tokens and roles, and webhooks."""

from shared.events import (
    PasswordChanged,
    RoleGranted,
    RoleRevoked,
    TokenIssued,
    TokenRevoked,
    UserCreated,
    UserDisabled,
    UserEnabled,
    WebhookCreated,
    WebhookDeleted,
    WebhookDied,
    WebhookReplayed,
)
from shared.narrate.sentence import sentence
from shared.narrate.words import where


@sentence.register
def _(event: UserCreated) -> str:
    return f"{'service account' if event.is_service else 'user'} {event.user_id} was made known"


@sentence.register
def _(event: UserDisabled) -> str:
    return f"user {event.user_id} was disabled"


@sentence.register
def _(event: UserEnabled) -> str:
    return f"user {event.user_id} was enabled again"


@sentence.register
def _(event: PasswordChanged) -> str:
    return f"user {event.user_id} has a new password"


@sentence.register
def _(event: RoleGranted) -> str:
    return f"user {event.user_id} became {event.role} {where(event.workspace)}"


@sentence.register
def _(event: RoleRevoked) -> str:
    return f"user {event.user_id} lost the role {where(event.workspace)}"


@sentence.register
def _(event: TokenIssued) -> str:
    until = f" until {event.expires_at:%Y-%m-%d %H:%M} UTC" if event.expires_at else ""
    return f"token {event.token_id} “{event.label}” speaks for user {event.user_id} as {event.role}{until}"


@sentence.register
def _(event: TokenRevoked) -> str:
    return f"token {event.token_id} of user {event.user_id} was revoked"


@sentence.register
def _(event: WebhookCreated) -> str:
    what = ", ".join(event.events) or "every event"
    return f"webhook {event.webhook_id} posts {what} to {event.url}"


@sentence.register
def _(event: WebhookDeleted) -> str:
    return f"webhook {event.webhook_id} was deleted"


@sentence.register
def _(event: WebhookDied) -> str:
    return f"webhook {event.webhook_id} died at event {event.seq} after {event.attempts} attempts: {event.reason}"


@sentence.register
def _(event: WebhookReplayed) -> str:
    return f"webhook {event.webhook_id} posts again from event {event.from_seq} on"
