"""Which part of the log a command is about: the options that tap and export share."""

import difflib
import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any, TypeVar

import click

from shared.events import CATALOGUE
from trainmaster.cli.options import experiment_id, trial_id
from trainmaster.client import Client
from trainmaster.client.client import Query

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


class EventName(click.ParamType[str]):
    """The name of an event."""

    name = "event"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name if there is such an event."""
        lower = {name.lower(): name for name in CATALOGUE}
        near = difflib.get_close_matches(value.lower(), lower, n=1, cutoff=0.4)
        hint = f"did you mean {lower[near[0]]}?" if near else f"there are {', '.join(sorted(CATALOGUE))}"
        if value not in CATALOGUE:
            self.fail(f"there is no event {value!r}; {hint}", param, ctx)
        return value


class Place(click.ParamType[str | int]):
    """A sequence, or a time."""

    name = "place"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Return the sequence as a number, the time with its offset."""
        return int(value) if value.isdecimal() and len(value) < 16 else Instant().convert(value, param, ctx)


_OPTIONS = (
    click.option("--after", type=click.IntRange(min=0), metavar="SEQ", help="Begin after this sequence, 0 for all."),
    click.option(
        "--since",
        type=Instant(),
        metavar="TIME",
        help="Begin with what happened then: 10m or 2h "
        "or 1d ago, at 14:30, on 2026-01-31, at 2026-01-31T12:00:00; local time.",
    ),
    click.option(
        "--until",
        type=Place(),
        metavar="TIME|SEQ",
        help="End with what happened then (as --since), or with this sequence.",
    ),
    click.option("--experiment", metavar="ID", help="Only what is about this experiment."),
    click.option("--trial", metavar="ID", help="Only what is about this trial."),
    click.option("--name", type=EventName(), metavar="EVENT", help="Only events of this name, such as GPUAllocated."),
    click.option("--writer", metavar="NAME", help="Only what this service says, such as scheduler or worker-local."),
)


def selection_options(command: F) -> F:
    """Add the options; the command takes them as `**selection`."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def query_of(client: Client, selection: dict[str, Any]) -> Query:
    """Return the selection as the API takes it, ids made whole; a sequence to end with is `last`."""
    query: Query = dict(selection)
    until, experiment, trial = selection["until"], selection["experiment"], selection["trial"]
    if isinstance(until, int):
        query |= {"until": None, "last": until}
    if experiment:
        query["experiment"] = client.experiment(experiment_id(client, experiment))[
            "id"
        ]  # a refusal says that it is not
    if trial:
        query["trial"] = client.trial(trial_id(client, trial))["id"]
    return query
