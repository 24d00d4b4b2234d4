"""tm diff."""

from collections.abc import Iterator

import click

from trainmaster.cli.moments import Place
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, number, print_json
from trainmaster.client.shapes import Difference, DiffPart, FieldChange, Moment

MAX_VALUE = 60  # characters of a value

SIGNS = {"came": "+", "changed": "~", "went": "-"}
TOLD = {"state", "reason", "epoch", "members", "pool_id"}  # of what came; the rest is what it always is at first


@click.command()
@click.argument("from_", metavar="FROM", type=Place())
@click.argument("to", metavar="[TO]", type=Place(), required=False)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many of each."
)
@data_option
@json_option
def diff(from_: str | int, to: str | int | None, data: str | None, limit: int, *, as_json: bool) -> None:
    """Show what came, went and changed between two moments; TO is now if left out.

    A moment is an event's sequence, or a time: 10m ago, at 14:30, on 2026-01-31, at 2026-01-31T12:00:00.
    """
    with platform_client(data) as client:
        found = client.diff(from_, to, limit)
    if as_json:
        print_json(found)
        return
    first, last = found["from"], found["to"]
    click.echo(f"from {_moment(first)} to {_moment(last)}: {last['seq'] - first['seq']} events")
    for part in found["parts"]:
        for line in lines(part):
            click.echo(line)


def lines(part: DiffPart) -> Iterator[str]:
    """Yield what happened to one kind of thing, as people read it; nothing if nothing did."""
    counts = {"came": part["num_came"], "changed": part["num_changed"], "went": part["num_went"]}
    if not any(counts.values()):
        return
    yield f"\n{part['kind']}: {', '.join(f'{count} {how}' for how, count in counts.items() if count)}"
    listed = {"came": part["came"], "changed": part["changed"], "went": part["went"]}
    for how, items in listed.items():
        yield from (f"  {SIGNS[how]} {_said(item, how)}" for item in items)
        if counts[how] > len(items):
            yield f"    … {counts[how] - len(items)} more {how}"


def _said(item: Difference, how: str) -> str:
    name = f"{item['id']} ({item['label']})" if item["label"] else item["id"]
    told = [field for field in item["fields"] if how == "changed" or (how == "came" and field["name"] in TOLD)]
    return f"{name}: {', '.join(_change(field, how) for field in told)}" if told else name


def _change(field: FieldChange, how: str) -> str:
    after = _value(field["after"])
    return f"{field['name']} {after}" if how == "came" else f"{field['name']} {_value(field['before'])} → {after}"


def _value(value: object) -> str:
    text = number(value).partition("\n")[0]
    return f"{text[:MAX_VALUE]}…" if len(text) > MAX_VALUE else text


def _moment(moment: Moment) -> str:
    return f"event {moment['seq']} ({clock(moment['time'])})" if moment["seq"] else "before the first event"
