"""Printing: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

STATE_STYLES = {
    "ACTIVE": "cyan",
    "RUNNING": "cyan",
    "STOPPING": "yellow",
    "PARKED": "yellow",
    "PAUSED": "yellow",
    "COMPLETED": "green",
    "UP": "green",
    "FAILED": "red",
    "LOST": "red",
}


def console(*, stderr: bool = False) -> Console:
    """Return a console; in a pipe nothing is wrapped."""
    is_tty = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, soft_wrap=not is_tty, highlight=False)


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2))


def print_json_line(value: object) -> None:
    """Print one JSON document on one line, at once."""
    click.echo(json.dumps(value, separators=(",", ":")))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table; states are coloured, None is a dash."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; in a pipe a line is as long as its row, and nothing pads it."""
    if sys.stdout.isatty():
        console().print(table(columns, rows))
        return
    texts = [tuple(columns), *(tuple(number(value) for value in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for cells in texts:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def figures(values: Mapping[str, Any]) -> str:
    """Return hyperparameters on one line: name=value, nested names joined by dots."""
    return " ".join(f"{name}={number(value)}" for name, value in flat("", values))


def number(value: object) -> str:
    """Return a number as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def clock(time: str | None) -> str:
    """Return an instant of the API as local date and time."""
    return "-" if time is None else datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(num_bytes: int) -> str:
    """Return a number of bytes as people read it."""
    amount = float(num_bytes)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:  # SI
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def _cell(value: object) -> str:
    text = number(value).replace("[", r"\[")
    style = STATE_STYLES.get(text)
    return f"[{style}]{text}[/]" if style else text


def flat(prefix: str, values: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    """Yield hyperparameters with their groups' names before theirs, joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value
