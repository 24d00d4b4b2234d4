"""Charts of long series: short, and nothing that stands out is lost."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.downsample import archived_from, thinned
from shared.series import Blocks, Points, condense

series = st.dictionaries(st.integers(0, 10_000), st.floats(-1e9, 1e9), min_size=1, max_size=300).map(
    lambda points: sorted(points.items())
)
max_points = st.integers(2, 60)


def blocks(points: list[tuple[int, float]], block_points: int = 1) -> Blocks:
    """The points, condensed."""
    steps, values = array("q", [step for step, _ in points]), array("d", [value for _, value in points])
    if block_points == 1:
        return Blocks.single(steps, values)
    return condense(Points(steps=steps, times_us=steps, values=values), block_points)


@given(series, st.integers(0, 9))
def test_a_short_series_is_shown_whole(points: list[tuple[int, float]], spare: int) -> None:
    assert thinned(blocks(points), max(2, len(points) + spare)) == points


@given(series, max_points, st.sampled_from([1, 3, 8]))
def test_what_is_shown_are_points_of_the_series_in_order_and_not_too_many(
    points: list[tuple[int, float]], most: int, block_points: int
) -> None:
    found = thinned(blocks(points, block_points), most)
    assert found == sorted(set(found)) and set(found) <= set(points) and len(found) <= most
    assert found[0] == points[0] and found[-1] == points[-1]


@given(series, st.integers(4, 60), st.sampled_from([1, 3, 8]))
def test_lowest_and_highest_are_kept(points: list[tuple[int, float]], most: int, block_points: int) -> None:
    values = [value for _, value in thinned(blocks(points, block_points), most)]
    assert min(values) == min(value for _, value in points)
    assert max(values) == max(value for _, value in points)


@given(series, st.integers(4, 60))
def test_each_stretch_keeps_its_first_lowest_highest_and_last_point(points: list[tuple[int, float]], most: int) -> None:
    found = set(thinned(blocks(points), most))
    first, last, num_stretches = points[0][0], points[-1][0], most // 4
    for number in range(num_stretches):
        stretch = [
            (step, value) for step, value in points if (step - first) * num_stretches // (last + 1 - first) == number
        ]
        if stretch:
            low, high = (choose(stretch, key=lambda point: point[1]) for choose in (min, max))
            assert {stretch[0], stretch[-1], low, high} <= found


def test_a_chart_of_two_points_shows_the_ends() -> None:
    assert thinned(blocks([(1, 1.0), (2, 9.0), (3, 2.0)]), 2) == [(1, 1.0), (3, 2.0)]


def test_a_later_attempt_archives_what_was_reported_from_its_first_step_on() -> None:
    assert archived_from([1, 50, 20, 70]) == [20, 20, 70, None]
