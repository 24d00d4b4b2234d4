"""Where points go among the chunks of an attempt."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from services.tracker.chunks import Leaf, placed, split
from shared.series import CHUNK_POINTS, Points


def at(*steps: int) -> Points:
    return Points(steps=array("q", steps), times_us=array("q", steps), values=array("d", steps))


HALF = Leaf(10, 20, CHUNK_POINTS // 2)
FULL = Leaf(30, 40, CHUNK_POINTS)


def test_points_go_to_the_chunk_they_fall_into() -> None:
    found = list(placed([HALF, FULL], at(1, 10, 29, 30, 35, 41)))
    assert found == [(HALF, at(1, 10, 29)), (FULL, at(30, 35)), (None, at(41))]


def test_the_last_chunk_takes_more_until_it_is_full() -> None:
    last = HALF._replace(first_step=50, last_step=60)
    assert list(placed([FULL, last], at(61, 90))) == [(last, at(61, 90))]
    assert list(placed([FULL], at(41, 42))) == [(None, at(41, 42))]


def test_an_attempt_without_chunks_gets_its_first() -> None:
    assert list(placed([], at(1, 2))) == [(None, at(1, 2))]


@given(st.integers(1, 3 * CHUNK_POINTS), st.booleans())
def test_chunks_are_never_too_large_and_lose_nothing(num_points: int, is_last: bool) -> None:  # noqa: FBT001
    points = at(*range(num_points))
    chunks = split(points, is_last=is_last)
    assert all(0 < len(chunk) <= CHUNK_POINTS for chunk in chunks)
    assert [step for chunk in chunks for step in chunk.steps] == list(points.steps)
    assert not is_last or all(len(chunk) == CHUNK_POINTS for chunk in chunks[:-1])
