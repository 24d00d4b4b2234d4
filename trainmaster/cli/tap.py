"""tm tap: the event log, live or from any point."""

import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json_line
from trainmaster.cli.selection import query_of, selection_options
from trainmaster.client import Client
from trainmaster.client.client import Query
from trainmaster.client.shapes import EventItem

PAGE = 500
SAVE_S = 0.5


@click.command()
@selection_options
@click.option("--follow/--no-follow", default=True, help="Wait for more from now on (not with --until); "
              "without, print what is there, from the beginning unless --after or --since says where.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many events.")
@click.option(
    "--format", "template", metavar="TEXT", help="Print each event so, like '{seq} {name} {event[trial_id]}'."
)
@click.option("--resume", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Go on where the last "
              "tap with this file stopped, and keep the place in it.")  # fmt: skip
@data_option
@json_option
def tap(
    count: int | None,
    template: str | None,
    resume: Path | None,
    data: str | None,
    *,
    follow: bool,
    as_json: bool,
    **selection: Any,
) -> None:
    """Follow the event log: live from now on, or from any point."""
    if template and as_json:
        raise click.UsageError("--format and --json exclude each other")
    place = Bookmark(resume) if resume else None
    with platform_client(data) as client:
        query = query_of(client, selection)
        if place is not None and place.seq is not None:
            query |= {"after": place.seq, "since": None}
        live = follow and selection["until"] is None
        events = client.follow_events(_streamed(query)) if live else _read(client, query)
        try:
            for event in islice(events, count):
                _print(event, template, as_json=as_json)
                if place is not None:
                    place.reach(event["seq"])
        finally:
            if place is not None:
                place.save()


class Bookmark:
    """A file with the sequence of the last event that was printed. After a crash a few are printed again, none is left
    out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_s = time.monotonic()
        self.seq: int | None = None
        if path.exists():
            text = path.read_text().strip()
            if not text.isdecimal():
                raise click.ClickException(f"{path} holds no place on the log; give another file")
            self.seq = int(text)

    def reach(self, seq: int) -> None:
        """Take note of an event, and save that every now and then."""
        self.seq = seq
        if time.monotonic() - self._saved_s >= SAVE_S:
            self.save()

    def save(self) -> None:
        """Put the place on disk."""
        if self.seq is None:
            return
        scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with scratch.open("w") as file:
            file.write(f"{self.seq}\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)
        self._saved_s = time.monotonic()


def _streamed(query: Query) -> Query:
    return {name: value for name, value in query.items() if name not in {"until", "last"}}


def _read(client: Client, query: Query) -> Iterator[EventItem]:
    last = query.get("last")
    query = {name: value for name, value in query.items() if name != "last"} | {"limit": PAGE}
    while True:
        page = client.events(query)
        for event in page["items"]:
            if isinstance(last, int) and event["seq"] > last:
                return
            yield event
        if page["at_head"] or (isinstance(last, int) and page["next_after"] >= last):
            return
        query = query | {"after": page["next_after"]}


def _print(event: EventItem, template: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json_line(event)
    elif template is None:
        when, writer, name = clock(event["time"]), event["writer"], event["name"]
        click.echo(f"{event['seq']:>6}  {when}  {writer:<14} {name:<20} {event['text']}")
    else:
        try:
            click.echo(template.format_map(event))
        except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
            known = ", ".join(event)
            raise click.ClickException(
                f"--format does not fit event {event['seq']}: {error}; it has {known}"
            ) from error
