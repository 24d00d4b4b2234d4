"""How a benchmark says what it measured: a table for people, one JSON object for scripts."""

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured quantity: what, in which unit, and each measurement."""

    what: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle measurement."""
        return statistics.median(self.values)


def show(title: str, rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the rows, each beside the first one's median."""
    if as_json:
        print(json.dumps({"benchmark": title, "rows": [asdict(row) | {"median": row.median} for row in rows]}))
        return
    table = Table("", "median", "lowest", "highest", "runs", "× first row", title=title)
    for row in rows:
        figures = (f"{_figure(value)} {row.unit}" for value in (row.median, min(row.values), max(row.values)))
        ratio = f"{row.median / rows[0].median:.2f}" if row.unit == rows[0].unit else ""
        table.add_row(row.what, *figures, str(len(row.values)), ratio)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
