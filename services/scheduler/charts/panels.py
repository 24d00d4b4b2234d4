"""What is drawn: slots in use over time above, the distribution of waits below."""

from collections.abc import Mapping, Sequence

from services.scheduler.charts.shapes import HEIGHT, WIDTH, Line, Picture, Points, Text
from services.scheduler.measure import Figures, duration

MARGIN, GAP = 64, 48
MAX_POINTS = 800  # of a line
MAX_CURVES = 6
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # Tol's bright scheme


def picture(stretches: Mapping[str, Figures], waits_s: Mapping[str, list[float]], title: str) -> Picture:
    """Return what is drawn: slots in use over time above, the distribution of waits below."""
    names = list(stretches)[:MAX_CURVES]
    drawn: Picture = [Text(x=MARGIN, y=20, text=title, size=15)]
    for index, name in enumerate(names):
        x, y = MARGIN + 290 * (index % 3), 38 + 15 * (index // 3)
        drawn.append(Line(points=[(x, y - 4), (x + 14, y - 4)], colour=COLOURS[index], width=4))
        drawn.append(Text(x=x + 20, y=y, text=name))
    middle = HEIGHT // 2
    used = [_usage(stretches[name]) for name in names]
    drawn += _panel(used, top=76, bottom=middle, names=("time", "slots in use"))
    waited = [_distribution(waits_s[name]) for name in names]
    drawn += _panel(waited, top=middle + GAP, bottom=HEIGHT - 40, names=("waited at most", "part of trials"))
    return drawn


def _usage(figures: Figures) -> Points:
    """Slots in use: the mean of each of equal parts of the time."""
    end_s = max(figures.makespan_s, 1e-9)
    usage = [(max(0.0, at_s), held) for at_s, held, _ in figures.usage if at_s <= end_s]
    sums, width_s = [0.0] * MAX_POINTS, end_s / MAX_POINTS
    for (at_s, held), (next_s, _) in zip(usage, [*usage[1:], (end_s, 0)], strict=True):
        _spread(sums, at_s, next_s, held, width_s)
    return [((index + 0.5) * width_s, total / width_s) for index, total in enumerate(sums)]


def _spread(sums: list[float], from_s: float, to_s: float, held: int, width_s: float) -> None:
    at_s = from_s
    while at_s < to_s - 1e-12:
        index = min(len(sums) - 1, int(at_s / width_s))
        next_s = to_s if index == len(sums) - 1 else min(to_s, (index + 1) * width_s)
        sums[index] += held * (next_s - at_s)
        at_s = max(next_s, at_s + 1e-9)


def _distribution(waits_s: list[float]) -> Points:
    """Which part waited at most so long."""
    ordered = sorted(waits_s)
    if not ordered:
        return [(0.0, 0.0)]
    stride = max(1, len(ordered) // MAX_POINTS)
    points = [(wait_s, (index + 1) / len(ordered)) for index, wait_s in enumerate(ordered)]
    return [(0.0, 0.0), *points[::stride], points[-1]]


def _panel(curves: Sequence[Points], *, top: int, bottom: int, names: tuple[str, str]) -> Picture:
    x_max = max((x for points in curves for x, _ in points), default=1.0) or 1.0
    y_max = max((y for points in curves for _, y in points), default=1.0) or 1.0
    left, right = MARGIN, WIDTH - 24
    drawn: Picture = []
    for part in range(5):
        y = bottom - (bottom - top) * part / 4
        drawn.append(Line(points=[(left, y), (right, y)], colour="#dddddd"))
        drawn.append(Text(x=left - 8, y=y + 4, text=f"{y_max * part / 4:.3g}", anchor="end"))
        x = left + (right - left) * part / 4
        drawn.append(Text(x=x, y=bottom + 16, text=duration(x_max * part / 4), anchor="middle"))
    drawn.append(Text(x=left, y=top - 6, text=names[1], colour="#555555"))
    drawn.append(Text(x=right, y=bottom + 30, text=names[0], anchor="end", colour="#555555"))
    for index, points in enumerate(curves):
        scaled = [(left + (right - left) * x / x_max, bottom - (bottom - top) * y / y_max) for x, y in points]
        drawn.append(Line(points=scaled, colour=COLOURS[index], width=1.5))
    return drawn
