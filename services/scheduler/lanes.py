"""Places in a priority lane: numbers, so that a job can be put between two others without touching them."""

from collections.abc import Iterable


def beside(anchor: float, lane: Iterable[float], *, ahead: bool) -> float:
    """Return a position directly ahead of or behind the anchor: half-way to the next in its lane.

    `lane` holds the positions of the others. Half-way to a neighbour can be found about fifty times in one gap.
    """
    others = [position for position in lane if position != anchor]
    if ahead:
        return (max((p for p in others if p < anchor), default=0.0) + anchor) / 2
    return (min((p for p in others if p > anchor), default=anchor + 1.0) + anchor) / 2
