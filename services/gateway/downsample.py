"""Long series made short for a chart, without losing what stands out. Pure.

M4 (Jugel, Jerzak, Hackenbroich, Markl: "M4: A Visualization-Oriented Time Series Data Aggregation", PVLDB 7(10), 2014):
the steps are divided into stretches of the same width, and of each the first, lowest, highest and last point are kept.
A line drawn through them, with a stretch for every pixel, is the line through all points. One deviation: where a
series is known by blocks of points (shared.series), a block belongs whole to the stretch in which it begins; so every
kept point is an extreme of exactly the points of its stretch, but stretches differ in width by up to a block.
"""

from bisect import bisect_left
from collections.abc import Sequence

from shared.series import Blocks, blocks_between, shown

POINTS_PER_STRETCH = 4


def thinned(blocks: Blocks, max_points: int) -> list[tuple[int, float]]:
    """Return at most so many points of a series, at least two: all if they are so few."""
    num_blocks = len(blocks.first_steps)
    are_points = blocks.first_steps == blocks.last_steps
    if num_blocks * (1 if are_points else POINTS_PER_STRETCH) <= max_points:
        return list(shown(blocks))
    num_stretches = max_points // POINTS_PER_STRETCH
    if not num_stretches:
        return _ends(blocks)
    start = blocks.first_steps[0]
    width = blocks.last_steps[-1] + 1 - start
    edges = [bisect_left(blocks.first_steps, start - (-width * n // num_stretches)) for n in range(num_stretches)]
    return list(shown(blocks_between(blocks, [*edges, num_blocks])))


def _ends(blocks: Blocks) -> list[tuple[int, float]]:
    ends = {blocks.first_steps[0]: blocks.first_values[0], blocks.last_steps[-1]: blocks.last_values[-1]}
    return list(ends.items())


def archived_from(first_steps: Sequence[int]) -> list[int | None]:
    """Return, for the attempts of a series by epoch, the step from which each is archived; None: all of it counts.

    When a later attempt reports a step, what earlier ones reported at it and beyond is the tail of an attempt that
    failed.
    """
    found: list[int | None] = []
    floor: int | None = None
    for first_step in reversed(first_steps):
        found.append(floor)
        floor = first_step if floor is None else min(floor, first_step)
    return found[::-1]
