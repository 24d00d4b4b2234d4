"""tm tap: the event log, live or from any point."""

from collections.abc import Iterator
from datetime import datetime

import click

from trainmaster.cli.options import any_id, data_option, experiment_id, json_option, platform_client
from trainmaster.cli.output import clock, print_json_line
from trainmaster.client import Client
from trainmaster.client.client import Query
from trainmaster.client.shapes import EventItem

PAGE = 500


class Instant(click.ParamType[str]):
    """A time in ISO 8601; without an offset it is local."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the instant with its offset."""
        try:
            return datetime.fromisoformat(value).astimezone().isoformat()
        except ValueError:
            self.fail(f"{value!r} is no time; write it like 2026-01-31T12:00:00", param, ctx)


@click.command()
@click.option("--after", type=click.IntRange(min=0), metavar="SEQ", help="Begin after this sequence, 0 for all.")
@click.option("--since", type=Instant(), metavar="TIME", help="Begin with what happened then.")
@click.option("--until", type=Instant(), metavar="TIME", help="End with what happened then.")
@click.option("--experiment", metavar="ID", help="Only what is about this experiment.")
@click.option("--trial", metavar="ID", help="Only what is about this trial.")
@click.option("--name", metavar="EVENT", help="Only events of this name, such as GPUAllocated.")
@click.option("--writer", metavar="NAME", help="Only what this service says, such as scheduler or worker-local.")
@click.option("--follow/--no-follow", default=True, help="Wait for more (not with --until).")
@data_option
@json_option
def tap(  # noqa: PLR0913 # one parameter for each option
    after: int | None,
    since: str | None,
    until: str | None,
    experiment: str | None,
    trial: str | None,
    name: str | None,
    writer: str | None,
    data: str | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Follow the event log: live from now on, or from any point."""
    with platform_client(data) as client:
        query: Query = {
            "after": after,
            "since": since,
            "until": until,
            "experiment": experiment and experiment_id(client, experiment),
            "trial": trial and any_id(client, trial),
            "name": name,
            "writer": writer,
        }
        live = follow and until is None
        for event in client.follow_events(query) if live else _read(client, query):
            if as_json:
                print_json_line(event)
            else:
                _print(event)


def _read(client: Client, query: Query) -> Iterator[EventItem]:
    while True:
        page = client.events(query | {"limit": PAGE})
        yield from page["items"]
        if page["at_head"]:
            return
        query = query | {"after": page["next_after"]}


def _print(event: EventItem) -> None:
    click.echo(f"{event['seq']:>6}  {clock(event['time'])}  {event['writer']:<14} {event['name']:<20} {event['text']}")
