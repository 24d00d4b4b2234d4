"""Which part of the log a command is about: the options that tap and export share."""

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from shared.events import CATALOGUE
from trainmaster.cli.moments import Instant, Place
from trainmaster.cli.options import experiment_id, trial_id
from trainmaster.client import Client
from trainmaster.client.client import Query

F = TypeVar("F", bound=Callable[..., Any])


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
    click.option(
        "--name",
        type=EventName(),
        multiple=True,
        metavar="EVENT",
        help="Only events of this name, such as GPUAllocated; may be repeated.",
    ),
    click.option("--writer", metavar="NAME", help="Only what this service says, such as scheduler or worker-local."),
)


def selection_options(command: F) -> F:
    """Add the options; the command takes them as `**selection`."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def query_of(client: Client, selection: dict[str, Any]) -> Query:
    """Return the selection as the API takes it, ids made whole; a sequence to end with is `last`."""
    query: Query = selection | {"name": ",".join(selection["name"]) or None}
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
