"""Which part of the log a command is about: the options that tap and export share."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from trainmaster.cli.options import any_id, experiment_id
from trainmaster.client import Client
from trainmaster.client.client import Query

F = TypeVar("F", bound=Callable[..., Any])


class Instant(click.ParamType[str]):
    """A time in ISO 8601; without an offset it is local."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the instant with its offset."""
        try:
            return datetime.fromisoformat(value).astimezone().isoformat()
        except ValueError:
            self.fail(f"{value!r} is no time; write it like 2026-01-31T12:00:00", param, ctx)


class Place(click.ParamType[str | int]):
    """A sequence, or a time."""

    name = "place"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Return the sequence as a number, the time with its offset."""
        return int(value) if value.isdecimal() and len(value) < 16 else Instant().convert(value, param, ctx)


_OPTIONS = (
    click.option("--after", type=click.IntRange(min=0), metavar="SEQ", help="Begin after this sequence, 0 for all."),
    click.option("--since", type=Instant(), metavar="TIME", help="Begin with what happened then."),
    click.option("--until", type=Place(), metavar="TIME|SEQ", help="End with what happened then, or this sequence."),
    click.option("--experiment", metavar="ID", help="Only what is about this experiment."),
    click.option("--trial", metavar="ID", help="Only what is about this trial."),
    click.option("--name", metavar="EVENT", help="Only events of this name, such as GPUAllocated."),
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
        query["experiment"] = experiment_id(client, experiment)
    if trial:
        query["trial"] = any_id(client, trial)
    return query
