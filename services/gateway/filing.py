"""Where experiments are kept, and what may be done with those that are over: pure rules over what is known of them."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from http import HTTPStatus

from services.gateway.views.experiments import ExperimentState
from shared.errors import Problem, Rejected
from shared.events import (
    Event,
    ExperimentArchived,
    ExperimentDeletionRequested,
    ExperimentDescribed,
    ExperimentMoved,
    ExperimentUnarchived,
)
from shared.ids import ExperimentId

MAX_LABELS = 100

#: What says whether an experiment is in the lists.
FILINGS = (ExperimentArchived, ExperimentUnarchived, ExperimentDeletionRequested)

OVER = frozenset({ExperimentState.COMPLETED, ExperimentState.FAILED, ExperimentState.CANCELED})

#: What changes how an experiment is filed or described.
FilingEvent = (
    ExperimentArchived | ExperimentUnarchived | ExperimentDeletionRequested | ExperimentDescribed | ExperimentMoved
)


class Filing(StrEnum):
    """What can be done with an experiment that is over."""

    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    DELETE = "delete"


_EVENTS: Mapping[Filing, Callable[..., FilingEvent]] = {
    Filing.ARCHIVE: ExperimentArchived,
    Filing.UNARCHIVE: ExperimentUnarchived,
    Filing.DELETE: ExperimentDeletionRequested,
}


def filing_event(filing: Filing, experiment_id: ExperimentId) -> FilingEvent:
    """Return the event that grants a wish."""
    return _EVENTS[filing](experiment_id=experiment_id)


def check(change: FilingEvent, state: ExperimentState, filed: Event | None, workspace: str) -> None:
    """Raise Rejected (409) when an experiment's state does not allow a change.

    `filed` is the newest of the FILINGS, if there is one; `workspace` is where the experiment is.
    """
    reason = _reason(change, state, filed, workspace)
    if reason is not None:
        raise Rejected(f"experiment {change.experiment_id} {reason}", status=HTTPStatus.CONFLICT)


def _reason(change: FilingEvent, state: ExperimentState, filed: Event | None, workspace: str) -> str | None:
    if isinstance(filed, ExperimentDeletionRequested):
        return "is deleted, or about to be"
    is_archived = isinstance(filed, ExperimentArchived)
    match change:
        case ExperimentUnarchived():
            return None if is_archived else "is not archived"
        case ExperimentArchived() if is_archived:
            return "is archived already"
        case ExperimentArchived() | ExperimentDeletionRequested() if state not in OVER:
            return f"is {state}: cancel it, or wait until it is over"
        case ExperimentMoved() if change.workspace != workspace and state not in OVER:
            return f"is {state}: it may change its workspace, whose limits it runs under, when it is over"
        case _:
            return None


def check_place(archived: tuple[bool | None, bool | None]) -> None:
    """Raise Rejected when an experiment is to go where nothing goes any more.

    `archived` says of the workspace and of the project whether it is; None: nobody named it before.
    """
    problems = tuple(
        Problem(name, "is archived", "unarchive it, or name another")
        for name, is_archived in zip(("workspace", "project"), archived, strict=True)
        if is_archived
    )
    if problems:
        raise Rejected("the experiment cannot be kept there", problems)


def described(
    experiment_id: ExperimentId,
    *,
    name: str | None,
    description: str | None,
    labels: list[str] | None,
    notes: str | None,
) -> ExperimentDescribed:
    """Return the event that says what is changed about an experiment's description; labels keep their order, each once.

    Raises Rejected when nothing is, and for more than MAX_LABELS labels.
    """
    if name is None and description is None and labels is None and notes is None:
        raise Rejected("nothing is changed", (Problem("", "give name, description, labels or notes"),))
    once = None if labels is None else tuple(dict.fromkeys(labels))
    if once is not None and len(once) > MAX_LABELS:
        mistake = Problem("labels", f"would be {len(once)}", f"an experiment has {MAX_LABELS} at most; remove some")
        raise Rejected("the experiment would have too many labels", (mistake,))
    return ExperimentDescribed(
        experiment_id=experiment_id, name=name, description=description, labels=once, notes=notes
    )
