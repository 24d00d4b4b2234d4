"""A chart of one or several stretches side by side: how full the slots were, and who waited how long. SVG or PNG."""

from collections.abc import Callable, Mapping
from pathlib import Path

from services.scheduler.charts.panels import picture
from services.scheduler.charts.shapes import Picture
from services.scheduler.charts.svg import svg
from services.scheduler.measure import Figures
from shared.errors import Problem, Rejected


def write(path: Path, stretches: Mapping[str, Figures], waits_s: Mapping[str, list[float]], title: str) -> None:
    """Write the chart. `waits_s` are the seconds that each trial waited, by the stretch's name.

    Raises Rejected when the file's name says neither SVG nor PNG.
    """
    writer = writer_of(path)
    path.write_bytes(writer(picture(stretches, waits_s, title)))


def writer_of(path: Path) -> Callable[[Picture], bytes]:
    """Return what makes the kind of image that a file's name says. Raises Rejected."""
    match path.suffix.lower():
        case ".svg":
            return svg
        case ".png":
            from services.scheduler.charts.png import png  # the scheduler itself draws nothing

            return png
    raise Rejected("the chart cannot be written", (Problem("chart", f"{path.name} is no name.svg or name.png"),))
