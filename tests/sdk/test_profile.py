"""Where a rank's time goes, by a clock that the test moves."""

from collections.abc import Iterator

import pytest

from trainmaster.sdk.profile import Profile


def test_steps_waits_and_samples_are_averaged_over_a_second() -> None:
    now = 0.0
    profile = Profile(clock=lambda: now)

    def slow() -> Iterator[int]:
        nonlocal now
        for number in range(10):
            now += 0.1
            yield number

    figures = []
    batches = profile.waiting(slow())
    for _ in range(5):
        next(batches)
        now += 0.3
        figures.append(profile.step_ended(16))
    assert figures[:2] == [None, None]
    assert figures[2] == pytest.approx({"step_time_s": 0.4, "data_wait_share": 0.25, "samples_per_s": 40.0})
    assert figures[3:] == [None, None]
    assert len(list(batches)) == 5


def test_what_was_before_the_loop_does_not_count() -> None:
    now = 0.0
    profile = Profile(clock=lambda: now)
    now = 100.0
    profile.begin()
    now = 102.0
    assert profile.step_ended(None) == pytest.approx({"step_time_s": 2.0, "data_wait_share": 0.0})
