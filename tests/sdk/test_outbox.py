"""The outbox is bounded, thins out only training points, and keeps their order."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from tests.sdk.conftest import START_TIMEOUT_S
from trainmaster.sdk.outbox import Outbox, Point


def point(step: int) -> Point:
    return Point(step=step, time_s=0.0, metrics={})


@given(num_points=st.integers(0, 400), max_points=st.integers(2, 50))
def test_a_full_outbox_thins_out_older_points_and_counts_them(num_points: int, max_points: int) -> None:
    outbox = Outbox(max_points=max_points)
    for step in range(num_points):
        outbox.add_point(point(step))
    outbox.close()
    points, _ = outbox.take() or ([], [])
    steps = [kept.step for kept in points]
    assert len(steps) <= max_points
    assert len(steps) + outbox.num_dropped == num_points
    assert steps == sorted(steps)
    newest = range(max(0, num_points - max_points // 2), num_points)
    assert steps[len(steps) - len(newest) :] == list(newest)


def test_a_frame_waits_for_room_and_is_not_dropped() -> None:
    outbox = Outbox(max_frames=2)

    def add_all() -> None:
        for number in range(50):
            outbox.add_frame({"number": number})

    writer = threading.Thread(target=add_all)
    writer.start()
    taken: list[int] = []
    while len(taken) < 50:
        _, frames = outbox.take() or ([], [])
        assert len(frames) <= 2
        taken += [frame["number"] for frame in frames]
    writer.join(START_TIMEOUT_S)
    assert taken == list(range(50))


def test_a_closed_outbox_gives_what_waits_and_then_ends() -> None:
    outbox = Outbox()
    outbox.add_point(point(1))
    outbox.add_frame({"type": "bye"})
    outbox.close()
    assert outbox.take() == ([point(1)], [{"type": "bye"}])
    assert outbox.take() is None
