"""Output of trials."""

from datetime import datetime

from services.gateway.views.view import View


class LogItem(View, frozen=True, kw_only=True):
    """One line of a trial's output."""

    time: datetime
    rank: int
    epoch: int
    stream: str
    text: str


class LogLine(LogItem, frozen=True, kw_only=True):
    """One line, and the sequence of the message that brought it."""

    seq: int


class LogPage(View, frozen=True, kw_only=True):
    """Lines, oldest first. `before` is what to ask for to read further back (null: this is the beginning), `after` to
    read on."""

    items: list[LogLine]
    before: int | None
    after: int
