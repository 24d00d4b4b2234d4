"""What events make of trials, their allocations, checkpoints and validation metrics: pure, one function an event.

Most events are of these, so they are folded in memory; see bulk.py. An event of a void epoch changes no row. Whatever
changes a row says by which event, and the version before is kept.
"""

from functools import singledispatch

from services.tracker import rows
from services.tracker.bulk import Row
from services.tracker.model import Metric, Model, Search
from services.tracker.statement import At
from shared.events import (
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointRefused,
    CheckpointSaved,
    Event,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Outcome,
    PreemptionRequested,
    TrialCanceled,
    TrialClosed,
    TrialExited,
    TrialExtended,
    TrialPreempted,
    TrialRequested,
    TrialRetried,
    TrialStarted,
    TrialStopped,
)
from shared.events.checkpoint import CheckpointEvent

CANCELED = "canceled by a user"
PARKED = "trained to its target; waits for its rung"


@singledispatch
def fold(event: Event, at: At, model: Model) -> None:
    """Change the rows that an event changes. All that it is about were fetched."""


@fold.register
def _trial_retried(event: TrialRetried, at: At, model: Model) -> None:
    """It may stand before or after the release of the slots of the attempt that failed."""
    if trial := model.open_trial(event.trial_id, at):
        restarts, reason = event.restarts, rows.text(event.reason)
        model.trials.change(trial, at, restarts=restarts, reason=reason, **_waiting_again(trial, at))


@fold.register
def _trial_extended(event: TrialExtended, at: At, model: Model) -> None:
    if trial := model.open_trial(event.trial_id, at):
        model.trials.change(trial, at, reason=rows.text(event.reason), **_waiting_again(trial, at))


def _waiting_again(trial: Row, at: At) -> Row:
    state = "WAITING" if trial["allocation_id"] is None else trial["state"]
    return {"state": state, "outcome": None, "waiting_since": at.time}


@fold.register
def _trial_stopped(event: TrialStopped, at: At, model: Model) -> None:
    if trial := model.open_trial(event.trial_id, at):
        model.trials.change(trial, at, reason=rows.text(event.reason))


@fold.register
def _trial_canceled(event: TrialCanceled, at: At, model: Model) -> None:
    if trial := model.open_trial(event.trial_id, at):
        model.trials.change(trial, at, reason=CANCELED)


@fold.register
def _trial_closed(event: TrialClosed, at: At, model: Model) -> None:
    if trial := model.open_trial(event.trial_id, at):
        model.trials.change(trial, at, state=event.end.value, reason=rows.text(event.reason), ended_at=at.time)


@fold.register
def _gpu_allocated(event: GPUAllocated, at: At, model: Model) -> None:
    trial = model.open_trial(event.trial_id, at)
    if trial and trial["epoch"] < event.epoch:
        allocation_id = event.allocation_id
        model.trials.change(
            trial, at, state="RUNNING", epoch=event.epoch, allocation_id=allocation_id, outcome=None
        )  # fmt: skip


@fold.register
def _preemption_requested(event: PreemptionRequested, at: At, model: Model) -> None:
    trial = model.open_trial(event.trial_id, at)
    if trial and trial["allocation_id"] == event.allocation_id:
        model.trials.change(trial, at, state="STOPPING")


@fold.register
def _gpu_released(event: GPUReleased, at: At, model: Model) -> None:
    allocation = model.allocations.get(event.allocation_id, at)
    if allocation and allocation["released_at"] is None:
        model.allocations.change(allocation, at, released_at=at.time)
    trial = model.trials.get(event.trial_id, at)
    if trial is None or trial["allocation_id"] != event.allocation_id:
        return
    if (search := model.searches.get(trial["experiment_id"])) is None:
        return
    state = _released(trial, search)
    reason = PARKED if state == "PARKED" else trial["reason"]
    model.trials.change(trial, at, allocation_id=None, waiting_since=at.time, state=state, reason=reason)


def _released(trial: Row, search: Search) -> str:
    """A trial that exited by itself is about to be retried or closed, unless its search trains it to one rung after the
    other: then it waits for its rung. Any other one waits for slots again."""
    if trial["ended_at"] is not None:
        return str(trial["state"])
    if trial["outcome"] == Outcome.COMPLETED and search.has_rungs:
        return "PARKED"
    return "STOPPING" if trial["outcome"] in (Outcome.COMPLETED, Outcome.FAILED) else "WAITING"


@fold.register
def _trial_started(event: TrialStarted, at: At, model: Model) -> None:
    if trial := model.attempt(event.trial_id, event.epoch, at):
        model.trials.change(trial, at, started_at=trial["started_at"] or at.time)


@fold.register
def _metric_reported(event: MetricReported, at: At, model: Model) -> None:
    trial = model.attempt(event.trial_id, event.epoch, at)
    search = model.searches.get(trial["experiment_id"]) if trial else None
    if trial is None or search is None:
        return
    values = {rows.text(name): value for name, value in event.metrics.items()}
    value = values.get(search.metric)
    changes: Row = {"step": _farthest(trial["step"], event.step)}
    if value is not None and search.is_better(value, trial["metric"]):
        changes |= {"metric": value, "best_step": event.step, "best_epoch": event.epoch}
    model.trials.change(trial, at, **changes)
    for name, reported in values.items():
        model.metrics[Metric(event.trial_id, name, event.step, event.epoch)] = (reported, at.time)


@fold.register
def _checkpoint_saved(event: CheckpointSaved, at: At, model: Model) -> None:
    _stepped(event, at, model)


@fold.register
def _trial_preempted(event: TrialPreempted, at: At, model: Model) -> None:
    _stepped(event, at, model)


def _stepped(event: CheckpointSaved | TrialPreempted, at: At, model: Model) -> None:
    if trial := model.attempt(event.trial_id, event.epoch, at):
        model.trials.change(trial, at, step=_farthest(trial["step"], event.step))


def _farthest(step: int | None, other: int | None) -> int | None:
    return max((found for found in (step, other) if found is not None), default=None)


@fold.register
def _trial_exited(event: TrialExited, at: At, model: Model) -> None:
    if trial := model.attempt(event.trial_id, event.epoch, at):
        model.trials.change(trial, at, outcome=event.outcome.value, error=rows.text(event.error))


@fold.register
def _checkpoint_refused(event: CheckpointRefused, at: At, model: Model) -> None:
    checkpoint = model.checkpoints.get(event.checkpoint_id, at)
    if checkpoint and checkpoint["state"] == "ACTIVE":
        model.checkpoints.change(checkpoint, at, state="DAMAGED", reason=rows.text(event.reason))


@fold.register
def _checkpoint_deletion_requested(event: CheckpointDeletionRequested, at: At, model: Model) -> None:
    checkpoint = _undeleted(event, at, model)
    if checkpoint:
        model.checkpoints.change(checkpoint, at, state="DELETING", reason=rows.text(event.reason))


@fold.register
def _checkpoint_deleted(event: CheckpointDeleted, at: At, model: Model) -> None:
    checkpoint = _undeleted(event, at, model)
    if checkpoint:
        model.checkpoints.change(checkpoint, at, state="DELETED")


def _undeleted(event: CheckpointEvent, at: At, model: Model) -> Row | None:
    checkpoint = model.checkpoints.get(event.checkpoint_id, at)
    return None if checkpoint is None or checkpoint["state"] == "DELETED" else checkpoint


#: Those that are folded here.
EVENTS = (frozenset(fold.registry) | {TrialRequested}) - {object}
