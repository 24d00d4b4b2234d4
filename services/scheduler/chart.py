"""A chart of one or several stretches side by side: how full the slots were, and who waited how long. One SVG file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from services.scheduler.measure import Figures, duration

WIDTH, HEIGHT, MARGIN, GAP = 960, 560, 64, 48
MAX_POINTS = 800  # of a line
MAX_CURVES = 6
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # Tol's bright scheme

Points = list[tuple[float, float]]


def write(path: Path, stretches: Mapping[str, Figures], waits_s: Mapping[str, list[float]], title: str) -> None:
    """Write the chart. `waits_s` are the seconds that each trial waited, by the stretch's name."""
    path.write_bytes(render(stretches, waits_s, title))


def render(stretches: Mapping[str, Figures], waits_s: Mapping[str, list[float]], title: str) -> bytes:
    """Return the chart as SVG: slots in use over time above, the distribution of waits below."""
    names = list(stretches)[:MAX_CURVES]
    svg = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", width=str(WIDTH),
        height=str(HEIGHT), attrib={"font-family": "sans-serif", "font-size": "12"},
    )  # fmt: skip
    ET.SubElement(svg, "rect", width=str(WIDTH), height=str(HEIGHT), fill="white")
    _text(svg, MARGIN, 22, title, size=15)
    for index, name in enumerate(names):
        _text(svg, MARGIN + 220 * (index % 4), 40, f"■ {name}", colour=COLOURS[index])
    middle = HEIGHT // 2
    used = [_usage(stretches[name]) for name in names]
    _panel(svg, used, top=62, bottom=middle, names=("time", "slots in use"))
    waited = [_distribution(waits_s[name]) for name in names]
    _panel(svg, waited, top=middle + GAP, bottom=HEIGHT - 40, names=("waited at most", "part of trials"))
    image: bytes = ET.tostring(svg, xml_declaration=True, encoding="utf-8")
    return image


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


def _panel(svg: ET.Element, curves: Sequence[Points], *, top: int, bottom: int, names: tuple[str, str]) -> None:
    x_max = max((x for points in curves for x, _ in points), default=1.0) or 1.0
    y_max = max((y for points in curves for _, y in points), default=1.0) or 1.0
    left, right = MARGIN, WIDTH - 24
    for part in range(5):
        y = bottom - (bottom - top) * part / 4
        ET.SubElement(svg, "line", x1=str(left), x2=str(right), y1=f"{y:.1f}", y2=f"{y:.1f}", stroke="#dddddd")
        _text(svg, left - 8, y + 4, f"{y_max * part / 4:.3g}", anchor="end")
        x = left + (right - left) * part / 4
        _text(svg, x, bottom + 16, duration(x_max * part / 4), anchor="middle")
    _text(svg, left, top - 4, names[1], colour="#555555")
    _text(svg, right, bottom + 30, names[0], anchor="end", colour="#555555")
    for index, points in enumerate(curves):
        drawn = " ".join(
            f"{left + (right - left) * x / x_max:.1f},{bottom - (bottom - top) * y / y_max:.1f}" for x, y in points
        )
        ET.SubElement(svg, "polyline", points=drawn, fill="none", stroke=COLOURS[index], attrib={"stroke-width": "1.5"})


def _text(
    svg: ET.Element, x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", colour: str = "#222222"
) -> None:
    element = ET.SubElement(
        svg, "text", x=f"{x:.1f}", y=f"{y:.1f}", fill=colour, attrib={"text-anchor": anchor, "font-size": str(size)}
    )
    element.text = text
