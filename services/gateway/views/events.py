"""Events of the log."""

from datetime import datetime

from services.gateway.views.view import Object, View


class EventItem(View, frozen=True, kw_only=True):
    """An event as the log holds it."""

    seq: int
    time: datetime
    name: str
    version: int
    writer: str
    actor: str
    correlation: str
    causes: list[int]
    position: int | None  # of a decision: up to which event its writer had folded
    id: str
    aggregate: str
    aggregate_id: str
    text: str
    event: Object


class EventPage(View, frozen=True, kw_only=True):
    """Events, oldest first; `at_head` says that there are no more in the asked range now."""

    items: list[EventItem]
    next_after: int
    at_head: bool


class Change(View, frozen=True, kw_only=True):
    """That an event happened, and which experiment, trial or agent it was about, as far as one may know."""

    seq: int
    name: str
    correlation: str
    event: dict[str, str]
