"""How the contest is told: a table, the same as JSON, and a page with pictures under docs/benchmarks."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.multi_fidelity.odds import odds
from benchmarks.multi_fidelity.own import EPOCHS

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "multi-fidelity.md"
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 930, 320, 60, 190, 40
COLOURS = (
    *("#555555", "#0b6bcb", "#4aa8ff", "#0a8f5a", "#d9480f"),
    *("#111111", "#e8a33d", "#a61e4d", "#7048e8", "#868e00"),
)

Improvements = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method on a problem: epochs until random search's final loss, as a part of random search's own epochs."""

    problem: str
    method: str
    target: float
    num_seeds: int
    num_arrived: int
    part: float  # the median
    part_quartiles: tuple[float, float]
    final: float  # the median best loss in the end


def row(
    problem: str, method: str, target: float, needed: Sequence[int], losses: Sequence[float], max_epochs: int
) -> Row:
    """Return the row of some searches."""
    parts = [epochs / max_epochs for epochs in needed]
    low, _, high = statistics.quantiles(parts, n=4, method="inclusive") if len(parts) > 1 else parts * 3
    return Row(
        problem=problem,
        method=method,
        target=target,
        num_seeds=len(parts),
        num_arrived=sum(part < 1 for part in parts),
        part=statistics.median(parts),
        part_quartiles=(low, high),
        final=statistics.median(losses),
    )


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the rows."""
    if as_json:
        print(json.dumps({"benchmark": "multi-fidelity", "rows": [asdict(row) for row in rows]}))
        return
    table = Table("problem", "method", "epochs needed", "quartiles", "arrived", "best loss in the end")
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)


def _cells(row: Row) -> tuple[str, ...]:
    quartiles = " … ".join(f"{part:.1%}" for part in row.part_quartiles)
    arrived = f"{row.num_arrived}/{row.num_seeds}"
    return (row.problem, row.method, f"{row.part:.1%}", quartiles, arrived, f"{row.final:.4f}")


def write(rows: Sequence[Row], courses: Mapping[str, Mapping[str, Sequence[Improvements]]], seeds: int) -> None:
    """Write the page and a picture for each problem."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    lines = [_HEAD.format(seeds=seeds)]
    for problem, found in courses.items():
        picture = PAGE.with_name(f"multi-fidelity-{problem}.svg")
        target = next(row.target for row in rows if row.problem == problem)
        picture.write_text(draw({method: one for method, one in found.items() if one}, problem, target))
        told = f"Random search comes to {target:.4f} (median). {odds(problem, target).sentence()}"
        lines += [f"## {problem}\n", f"{told}\n", f"![{problem}]({picture.name})\n"]
        lines += ["| method | epochs needed | quartiles | arrived | best loss in the end |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(_cells(row)[1:])} |" for row in rows if row.problem == problem] + [""]
    PAGE.write_text("\n".join(lines))


def draw(courses: Mapping[str, Sequence[Improvements]], title: str, target: float) -> str:
    """Return an SVG of the median best loss so far (logarithmic) over the epochs trained in all.

    Searches that end when they have arrived at the target are drawn until half of them have.
    """
    grid = range(50, 5001, 50)
    medians = {
        method: [statistics.median(_at(one, epochs) for one in found) for epochs in grid]
        for method, found in courses.items()
    }
    low, high = min(map(min, medians.values())) * 0.95, max(line[4] for line in medians.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 14, f"{title}: median best validation loss over epochs trained in all", "start"),
    ]
    for number, (method, line) in enumerate(medians.items()):
        points = " ".join(
            f"{_x(at):.1f},{_y(loss, low, high):.1f}"
            for at, loss in zip(grid, line, strict=True)
            if method not in EPOCHS or (at <= EPOCHS[method] and (at == grid[0] or line[grid.index(at) - 1] > target))
        )
        colour = COLOURS[number]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>')
        parts.append(_text(WIDTH - RIGHT + 15, 34 + 15 * number, method, "start", colour))
    parts += [_text(_x(epochs), HEIGHT - 18, f"{epochs:,}", "middle") for epochs in range(0, 5001, 1000)]
    parts += [_text(LEFT - 6, _y(loss, low, high), f"{loss:.3f}", "end") for loss in (low, math.sqrt(low * high), high)]
    return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str, anchor: str, colour: str = "black") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _at(found: Improvements, epochs: int) -> float:
    return next((loss for when, loss in reversed(found) if when <= epochs), found[0][1])


def _x(epochs: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * epochs / 5000


def _y(loss: float, lowest: float, highest: float) -> float:
    place = math.log(min(loss, highest) / lowest) / math.log(highest / lowest)
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 25) * place


_HEAD = """# Multi-fidelity search on learning curves

How many epochs, of all that are trained, a search needs until its best validation loss so far is as good as random
search's in the end: random search trains 100 configurations for 50 epochs each, and 100 % are these 5,000 epochs.
{seeds} seeds each of a method with a model, five times as many of one that draws at random (or as many as *arrived*
says), 8 trials at a time, in virtual time, so that the figures are the same on every machine. Of ours the searcher's
own state machine decides; Optuna (TPE with a pruner) is asked and told; Ray Tune's ASHA scheduler object is driven
directly, without Ray around it. First rung and divisor are the same for all that have them: 3, 12 and 50 epochs,
divisor 4. Optuna's median pruner has its defaults. Again: `tm bench multi-fidelity`.

* `digits`: 1,152 recorded learning curves of a multilayer perceptron on scikit-learn's digits: optimizer, learning
  rate, momentum, weight decay, width, depth, dropout, batch size (`benchmarks/multi_fidelity/record.py`).
* `hartmann`: the usual synthetic benchmark of multi-fidelity search, the Hartmann function of six variables with bias
  and noise that vanish towards the last epoch (mfh6 of PriorBand, with its default bias and noise).
* `crossing`: made-up curves that cross: what learns slowly comes further, and looks worst at the first rung. A
  case against stopping early: it shows what a search may lose by it.

`adaptive_asha` has its default mode, standard, and promotes (`max_length`); `_aggressive` is the mode with one ladder;
`_stopping` only stops trials (`max_time`). `bayesian_asha` ends when it has arrived, or after 1,000 epochs, a fifth,
and then counts as 100 %: a model takes its time for each trial. `_prediction` judges trials at their rungs by what the
model predicts of their end (`judge_by: prediction`), not by the metric that they have there.
"""
