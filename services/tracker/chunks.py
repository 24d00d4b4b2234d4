"""Which chunk of an attempt a point belongs to, and how chunks are filled and split. Pure.

The chunks of an attempt are like the leaves of a B+-tree: each takes the steps from its first one up to the next
chunk's. New points are put into the chunks that they fall into, and a chunk that grows too large is split: the last
one so that full chunks are left behind, because a series mostly grows at its end; others into halves.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.series import CHUNK_POINTS, Points


class Leaf(NamedTuple):
    """A chunk that is stored: its range and size."""

    first_step: int
    last_step: int
    num_points: int


def placed(leaves: Sequence[Leaf], points: Points) -> Iterator[tuple[Leaf | None, Points]]:
    """Yield the points in runs, each with the chunk that it falls into; None: after the last, which is full.

    `leaves` are in order and end with the attempt's last.
    """
    start = 0
    for number, leaf in enumerate(leaves):
        if number + 1 < len(leaves):
            end = bisect_left(points.steps, leaves[number + 1].first_step, start)
        elif leaf.num_points >= CHUNK_POINTS:
            end = bisect_left(points.steps, leaf.last_step + 1, start)
        else:
            end = len(points)
        if end > start:
            yield leaf, points.part(start, end)
        start = end
    if start < len(points):
        yield None, points.part(start, len(points))


def split(points: Points, *, is_last: bool) -> list[Points]:
    """Return the points in chunks of at most CHUNK_POINTS."""
    num_chunks = -(-len(points) // CHUNK_POINTS)
    size = CHUNK_POINTS if is_last else -(-len(points) // num_chunks)
    return [points.part(start, start + size) for start in range(0, len(points), size)]
