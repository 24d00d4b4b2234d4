"""tm why: why a trial, an experiment or an agent is as it is, in words that fit a terminal."""

import textwrap
from collections.abc import Iterator

import click

from trainmaster.cli.moments import as_of_option
from trainmaster.cli.options import data_option, experiment_id, json_option, platform_client, trial_id
from trainmaster.cli.output import clock, print_json
from trainmaster.client import ApiError, Client
from trainmaster.client.shapes import EventItem, Explanation, Why

WIDTH = 100
NOT_FOUND = 404
MAX_CHAIN = 40  # of the newest events; --json has all


@click.command()
@click.argument("what", metavar="TRIAL|EXPERIMENT|AGENT")
@as_of_option
@data_option
@json_option
def why(what: str, data: str | None, as_of: str | int | None, *, as_json: bool) -> None:
    """Show why a trial, an experiment or an agent is as it is, what each decision went by, and the events.

    --json has the same as structure, with all events.
    """
    with platform_client(data, as_of) as client:
        told = _find(client, what)
    if as_json:
        print_json(told)
        return
    for line in lines(told):
        click.echo(line)


def _find(client: Client, what: str) -> Why:
    """Return the explanation of what is called so; an experiment's name may be shortened."""
    kinds = ("trials", "agents") if "-" in what else ("experiments", "agents")
    for kind in kinds:
        try:
            return client.why(what, kind=kind)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
    if "-" in what:
        return client.why(trial_id(client, what))
    return client.why(experiment_id(client, what), kind="experiments")


def lines(told: Why) -> Iterator[str]:
    """Yield an explanation as people read it: where it is now, what was gone by, the events with the newest last."""
    yield f"{told['kind']} {told['id']}  {told['state']}"
    yield from _wrapped(told["head"], "")
    for one in told["explanations"]:
        yield ""
        yield from _explanation(one)
    chain = told["chain"]
    if chain:
        yield ""
        newest = f", the newest {MAX_CHAIN} shown" if len(chain) > MAX_CHAIN else ""
        yield f"How it came there ({'1 event' if len(chain) == 1 else f'{len(chain)} events'}{newest})"
        for event in chain[-MAX_CHAIN:]:
            yield from _event(event)


def _explanation(one: Explanation) -> Iterator[str]:
    seq, time = one["seq"], one["time"]
    if seq is None:
        yield one["question"]
        yield from _wrapped(f"{clock(time)}, {one['text']}" if time else one["text"], "    ")
    else:
        yield f"{one['question']} ({clock(time)}, event {seq})"
        yield from _wrapped(one["text"], "    ")


def _event(event: EventItem) -> Iterator[str]:
    causes = f" (because of {', '.join(map(str, event['causes']))})" if event["causes"] else ""
    head = f"{event['seq']:>8}  {clock(event['time'])}  "
    yield from _wrapped(f"{event['text']}{causes}", " " * len(head), head)


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
