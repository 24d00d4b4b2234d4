"""What a chart is made of, whatever kind of image it becomes."""

from dataclasses import dataclass

WIDTH, HEIGHT = 960, 560

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points of the picture."""

    points: Points
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Words, at the left, in the middle or at the right of a point on their base line."""

    x: float
    y: float
    text: str
    colour: str = "#222222"
    size: int = 12
    anchor: str = "start"  # or middle, end


Picture = list[Line | Text]
