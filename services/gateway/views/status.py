"""How the platform is."""

from datetime import datetime

import msgspec

from services.gateway.views.view import View


class ServiceStatus(View, frozen=True, kw_only=True):
    """What a process last said of itself. `lag` counts events that it has not folded."""

    name: str
    instance: str
    alive: bool
    last_heard: datetime | None
    position: int | None
    lag: int | None
    facts: dict[str, msgspec.Raw]


class LogStatus(View, frozen=True, kw_only=True):
    """The log as a whole."""

    last_seq: int
    events: int
    bytes: int


class Status(View, frozen=True, kw_only=True):
    """How the platform is. `set_aside` counts the messages that nobody could use; /set-aside lists them."""

    services: list[ServiceStatus]
    log: LogStatus
    set_aside: int


class SetAsideItem(View, frozen=True, kw_only=True):
    """A message of a stream that the read model could not use, and why."""

    stream: str
    seq: int
    subject: str
    stored_at: datetime
    size_bytes: int
    reason: str


class SetAsideList(View, frozen=True, kw_only=True):
    """The messages that were set aside last, newest first; `total` counts all."""

    items: list[SetAsideItem]
    total: int


class Readiness(View, frozen=True, kw_only=True):
    """Whether everything answers; if not, what does not."""

    ready: bool
    reasons: list[str]


class Health(View, frozen=True, kw_only=True):
    """The process is up."""

    status: str
