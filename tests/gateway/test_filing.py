"""What may be done with experiments that are over, and with those that are not: pure."""

import pytest

from services.gateway import cursor, filing, forking
from services.gateway.filing import Filing
from services.gateway.views.experiments import ExperimentState
from shared.errors import Rejected
from shared.events import (
    Event,
    ExperimentArchived,
    ExperimentDeletionRequested,
    ExperimentDescribed,
    ExperimentMoved,
    ExperimentUnarchived,
)
from shared.ids import ExperimentId, project_id, workspace_id

ONE = ExperimentId("k3f9x2ab")
ARCHIVED, UNARCHIVED = ExperimentArchived(experiment_id=ONE), ExperimentUnarchived(experiment_id=ONE)
DELETED = ExperimentDeletionRequested(experiment_id=ONE)
DESCRIBED = ExperimentDescribed(experiment_id=ONE, name="other")
WITHIN = ExperimentMoved(experiment_id=ONE, workspace="vision", project="digits")
ELSEWHERE = ExperimentMoved(experiment_id=ONE, workspace="speech", project="")
ACTIVE, COMPLETED = ExperimentState.ACTIVE, ExperimentState.COMPLETED


@pytest.mark.parametrize(
    ("change", "state", "filed", "allowed"),
    [
        (ARCHIVED, COMPLETED, None, True),
        (ARCHIVED, ExperimentState.PAUSED, None, False),
        (ARCHIVED, COMPLETED, UNARCHIVED, True),
        (ARCHIVED, COMPLETED, ARCHIVED, False),
        (UNARCHIVED, COMPLETED, ARCHIVED, True),
        (UNARCHIVED, COMPLETED, None, False),
        (DELETED, COMPLETED, ARCHIVED, True),
        (DELETED, ACTIVE, None, False),
        (DELETED, COMPLETED, DELETED, False),
        (DESCRIBED, ACTIVE, None, True),
        (DESCRIBED, COMPLETED, DELETED, False),
        (WITHIN, ACTIVE, None, True),
        (ELSEWHERE, ACTIVE, None, False),
        (ELSEWHERE, COMPLETED, None, True),
    ],
)
def test_a_change_is_allowed_where_its_state_allows_it(
    change: filing.FilingEvent, state: ExperimentState, filed: Event | None, *, allowed: bool
) -> None:
    if allowed:
        filing.check(change, state, filed, "vision")
    else:
        with pytest.raises(Rejected) as error:
            filing.check(change, state, filed, "vision")
        assert error.value.status == 409 and ONE in error.value.title


def test_each_wish_has_its_event() -> None:
    assert [filing.filing_event(wish, ONE) for wish in Filing] == [ARCHIVED, UNARCHIVED, DELETED]


def test_a_label_counts_once_and_no_change_is_a_mistake() -> None:
    event = filing.described(ONE, name=None, description=None, labels=["b", "a", "b"], notes=None)
    assert event.labels == ("b", "a")
    with pytest.raises(Rejected):
        filing.described(ONE, name=None, description=None, labels=None, notes=None)


def test_nothing_goes_to_an_archived_place() -> None:
    filing.check_place((None, False))
    with pytest.raises(Rejected) as error:
        filing.check_place((True, True))
    assert [problem.path for problem in error.value.problems] == ["workspace", "project"]


def test_a_fork_changes_what_it_names_and_nothing_of_its_origin() -> None:
    config = {"searcher": {"max_trials": 2}, "resume_from": None}
    made = forking.forked(config, "k3f9x2ab-1-a1-s30", {"searcher.max_trials": 9, "labels": ["x"]})
    assert made == {"searcher": {"max_trials": 9}, "resume_from": "k3f9x2ab-1-a1-s30", "labels": ["x"]}
    assert config == {"searcher": {"max_trials": 2}, "resume_from": None}
    with pytest.raises(Rejected) as error:
        forking.forked(config, None, {"a.b": 1, "searcher.max_trials.x": 2})
    assert [problem.path for problem in error.value.problems] == ["a.b", "searcher.max_trials.x"]


def test_places_have_ids_that_can_stand_in_an_address() -> None:
    assert workspace_id("vision") == "vision"
    assert workspace_id("Vision Team").startswith("w-") and workspace_id("w-x") != "w-x"
    assert project_id("a", "b") != project_id("ab", "")


def test_a_cursor_comes_back_and_another_text_does_not() -> None:
    assert cursor.read(cursor.write("näxt"), str, "") == "näxt"
    assert cursor.read(None, int, 7) == 7
    for text in ("x", "AAAA", cursor.write([1])):
        with pytest.raises(Rejected):
            cursor.read(text, str, "")
