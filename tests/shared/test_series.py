"""Series as arrays: joined in any order they are the same, and what is packed comes back."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from shared.series import (
    Blocks,
    Points,
    blocks_between,
    condense,
    joined,
    pack,
    points_of,
    read_raw,
    shown,
    unpack,
    write_raw,
)

NOW_US = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
finite = st.floats(allow_nan=False, allow_infinity=False)
reports = st.lists(st.tuples(st.integers(0, 2**53), st.integers(0, 2 * NOW_US), finite), max_size=60)
close_reports = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), finite), max_size=40)


@given(reports)
def test_packed_points_come_back(found: list[tuple[int, int, float]]) -> None:
    points = points_of(found)
    assert unpack(pack(points)) == points
    assert read_raw(write_raw(points)) == points


@given(close_reports, st.data())
def test_any_order_and_repetition_of_parts_is_the_same_series(
    found: list[tuple[int, int, float]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(found)))
    parts = [points_of(found[:cut]), points_of(found[cut:])]
    parts += data.draw(st.lists(st.sampled_from(parts), max_size=3))
    assert joined(data.draw(st.permutations(parts))) == points_of(found)


def test_of_a_step_reported_twice_the_later_report_counts() -> None:
    assert list(points_of([(1, 20, 0.5), (1, 10, 0.7), (1, 20, 0.6)]).values) == [0.6]


@given(reports, st.integers(1, 20))
def test_a_block_is_its_points_first_lowest_highest_and_last(
    found: list[tuple[int, int, float]], block_points: int
) -> None:
    points = points_of(found)
    blocks = condense(points, block_points)
    assert Blocks.unpack(blocks.pack()) == blocks
    runs = [_pairs(points)[at : at + block_points] for at in range(0, len(points), block_points)]
    assert list(zip(*blocks, strict=True)) == [
        (*run[0], *min(run, key=lambda pair: pair[1]), *max(run, key=lambda pair: pair[1]), *run[-1]) for run in runs
    ]


@given(reports, st.integers(1, 9), st.integers(1, 9))
def test_blocks_of_blocks_are_blocks(found: list[tuple[int, int, float]], inner: int, factor: int) -> None:
    points = points_of(found)
    blocks = condense(points, inner)
    edges = [*range(0, len(blocks.first_steps), factor), len(blocks.first_steps)]
    assert list(shown(blocks_between(blocks, edges))) == list(shown(condense(points, inner * factor)))


def _pairs(points: Points) -> list[tuple[int, float]]:
    return list(zip(points.steps, points.values, strict=True))
