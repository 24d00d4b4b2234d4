"""Moments as people write them: a time, how long ago, or a sequence of the log."""

import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_TIME_OF_DAY = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Instant(click.ParamType[str]):
    """How long ago (10m), a time of day (the last 14:30), a date, or a time in ISO 8601; without an offset local."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the instant with its offset."""
        now = datetime.now().astimezone()
        try:
            if ago := _AGO.fullmatch(value):
                return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
            if _TIME_OF_DAY.fullmatch(value):
                today = datetime.combine(now.date(), time.fromisoformat(value)).astimezone()
                return (today if today <= now else today - timedelta(days=1)).isoformat()
            return datetime.fromisoformat(value).astimezone().isoformat()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write 10m, 14:30, 2026-01-31 or 2026-01-31T12:00:00", param, ctx)


class Place(click.ParamType[str | int]):
    """A sequence, or a time."""

    name = "place"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Return the sequence as a number, the time with its offset."""
        return int(value) if value.isdecimal() and len(value) < 16 else Instant().convert(value, param, ctx)


def as_of_option(command: F) -> F:
    """Add --as-of: the answer is as it was then."""
    add = click.option(
        "--as-of",
        type=Place(),
        metavar="TIME|SEQ",
        help="As it was then: 10m ago, at 14:30, on 2026-01-31, at 2026-01-31T12:00:00; or after this event.",
    )
    return add(command)
