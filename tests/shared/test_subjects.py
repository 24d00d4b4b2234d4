"""Subjects are built and parsed in one place."""

import pytest

from shared import ids, subjects
from shared.ids import ExperimentId
from shared.subjects import EventSubject


def test_a_subject_reads_back() -> None:
    subject = EventSubject("scheduler", "pool", "default", "GPUAllocated")
    assert str(subject) == "tm.scheduler.pool.default.GPUAllocated"
    assert subjects.parse_event_subject(str(subject)) == subject


@pytest.mark.parametrize("subject", ["", "tm.a.b.c", "tm.a.b.c.d.e", "metrics.a.b", "xx.a.b.c.d"])
def test_other_subjects_are_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="not an event subject"):
        subjects.parse_event_subject(subject)


def test_ids_are_tokens_and_show_their_family() -> None:
    experiment = ids.new_experiment_id()
    trial = ids.trial_id(experiment, 7)
    allocation = ids.allocation_id(trial, 2)
    checkpoint = ids.checkpoint_id(allocation, 120)
    assert checkpoint == f"{experiment}-7-a2-s120"
    assert all(map(ids.is_token, (experiment, trial, allocation, checkpoint)))


@pytest.mark.parametrize("text", ["", "a.b", "a b", "*", ">", "A", "-a", "a" * 64, "../x"])
def test_what_would_break_a_subject_is_no_token(text: str) -> None:
    assert not ids.is_token(text)


def test_experiment_ids_differ() -> None:
    drawn: set[ExperimentId] = {ids.new_experiment_id() for _ in range(1000)}
    assert len(drawn) == 1000
