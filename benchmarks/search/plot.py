"""Draws what was measured as SVG: for each problem the best cost so far, medians as lines, quartiles as bands."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search.problems import PROBLEMS
from benchmarks.search.store import Outcome

WIDTH, HEIGHT, MARGIN = 300, 210, 34
COLOURS = {
    "bayesian": "#d62728",
    "optuna_gp": "#1f77b4",
    "optuna_tpe": "#2ca02c",
    "skopt": "#9467bd",
    "random": "#7f7f7f",
}
NUM_COLUMNS = 4


def draw(outcomes: Sequence[Outcome], num_evaluations: int, path: Path) -> None:
    """Write one panel for each problem that was measured."""
    problems = [name for name in PROBLEMS if any(outcome.cell.problem == name for outcome in outcomes)]
    rows = math.ceil(len(problems) / NUM_COLUMNS)
    width, height = WIDTH * min(NUM_COLUMNS, len(problems)), HEIGHT * rows + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, problem in enumerate(problems):
        row, column = divmod(number, NUM_COLUMNS)
        panel = [outcome for outcome in outcomes if outcome.cell.problem == problem]
        parts.append(f'<g transform="translate({column * WIDTH},{row * HEIGHT})">')
        parts += [*_panel(problem, panel, num_evaluations), "</g>"]
    parts += [*_legend(height - 8), "</svg>"]
    path.write_text("\n".join(parts) + "\n")


def _panel(problem: str, outcomes: Sequence[Outcome], num_evaluations: int) -> list[str]:
    optimum = PROBLEMS[problem].optimum
    least = min(outcome.best(num_evaluations) for outcome in outcomes) if optimum is None else optimum
    bands: dict[str, list[tuple[float, float, float]]] = {}
    for method in COLOURS:
        found = [outcome for outcome in outcomes if outcome.cell.method == method]
        if len(found) > 1:
            bands[method] = [_quartiles(found, number, least) for number in range(1, num_evaluations + 1)]
    values = [math.log10(value) for band in bands.values() for triple in band[4:] for value in triple]
    low, high = min(values), max(values)

    def at(number: int, value: float) -> str:
        x = MARGIN + (WIDTH - MARGIN - 8) * number / (num_evaluations - 1)
        y = HEIGHT - MARGIN + 8 - (HEIGHT - MARGIN - 16) * (min(high, math.log10(value)) - low) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<text x="{MARGIN}" y="14" font-weight="bold">{problem}</text>']
    for exponent in range(math.ceil(low), math.floor(high) + 1):
        left, right = at(0, 10.0**exponent), at(num_evaluations - 1, 10.0**exponent)
        parts.append(f'<polyline points="{left} {right}" stroke="#ddd" fill="none"/>')
        parts.append(f'<text x="2" y="{left.split(",")[1]}" fill="#555">1e{exponent}</text>')
    for method, band in bands.items():
        outline = [at(n, triple[2]) for n, triple in enumerate(band)]
        outline += [at(n, band[n][0]) for n in reversed(range(len(band)))]
        parts.append(f'<polygon points="{" ".join(outline)}" fill="{COLOURS[method]}" opacity="0.12"/>')
        line = " ".join(at(n, triple[1]) for n, triple in enumerate(band))
        parts.append(f'<polyline points="{line}" stroke="{COLOURS[method]}" fill="none" stroke-width="1.6"/>')
    return parts


def _quartiles(outcomes: Sequence[Outcome], number: int, least: float) -> tuple[float, float, float]:
    regrets = [max(outcome.best(number) - least, 1e-6) for outcome in outcomes]
    low, middle, high = statistics.quantiles(regrets, n=4)
    return max(low, 1e-6), middle, high


def _legend(y: int) -> list[str]:
    parts = []
    for number, (method, colour) in enumerate(COLOURS.items()):
        x = MARGIN + 120 * number
        parts.append(f'<rect x="{x}" y="{y - 8}" width="18" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 24}" y="{y - 2}">{method}</text>')
    return parts
