"""What a person may ask of an experiment: pure rules over what the log says of it."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from services.gateway.views.checkpoints import Checkpoint, CheckpointState
from services.gateway.views.experiments import ExperimentState
from services.gateway.views.trials import Trial
from shared.errors import Problem, Rejected
from shared.events import (
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentSubmitted,
    JobEvent,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
    SearchLimitsSet,
)
from shared.ids import ExperimentId, PoolId
from shared.log import Recorded


class Intent(StrEnum):
    """What can be asked of an experiment that exists."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


#: The wishes that an experiment's state follows from.
STATE_INTENTS = (ExperimentSubmitted, ExperimentPaused, ExperimentResumed, ExperimentCanceled)

_AFTER: dict[type[Event | None], ExperimentState] = {
    ExperimentSubmitted: ExperimentState.ACTIVE,
    ExperimentResumed: ExperimentState.ACTIVE,
    ExperimentPaused: ExperimentState.PAUSED,
    ExperimentCanceled: ExperimentState.CANCELED,
    ExperimentCompleted: ExperimentState.COMPLETED,
    ExperimentFailed: ExperimentState.FAILED,
}
_ALLOWED: dict[Intent, dict[ExperimentState, type[Event]]] = {
    Intent.PAUSE: {ExperimentState.ACTIVE: ExperimentPaused},
    Intent.RESUME: {ExperimentState.PAUSED: ExperimentResumed},
    Intent.CANCEL: {ExperimentState.ACTIVE: ExperimentCanceled, ExperimentState.PAUSED: ExperimentCanceled},
}
_PARTICIPLE = {Intent.PAUSE: "paused", Intent.RESUME: "resumed", Intent.CANCEL: "canceled"}
_NOT_ALLOWED: dict[ExperimentState, str] = {
    ExperimentState.ACTIVE: "it is active already",
    ExperimentState.PAUSED: "it is paused already; resume it to go on",
    ExperimentState.COMPLETED: "it has completed",
    ExperimentState.FAILED: "it has failed; submit it again to try again",
    ExperimentState.CANCELED: "it was canceled; submit it again to run it",
}


def state_after(asked: Recorded, ended: Recorded | None) -> ExperimentState:
    """Return an experiment's state from the newest of the STATE_INTENTS, and the search's end if there is one.

    Whichever end came first counts, as a user may cancel at the moment the search completes.
    """
    if ended is None or (isinstance(asked.event, ExperimentCanceled) and asked.seq < ended.seq):
        return _AFTER[type(asked.event)]
    return _AFTER[type(ended.event)]


def admit(state: ExperimentState, intent: Intent, experiment_id: ExperimentId) -> Event:
    """Return the event that grants a request. Raises Rejected when the state does not allow it."""
    event = _ALLOWED[intent].get(state)
    if event is None:
        reason = f"experiment {experiment_id} cannot be {_PARTICIPLE[intent]}: {_NOT_ALLOWED[state]}"
        raise Rejected(reason, status=HTTPStatus.CONFLICT)
    granted: Event = event(experiment_id=experiment_id)
    return granted


def job_event(
    experiment_id: ExperimentId,
    *,
    priority: int | None = None,
    weight: float | None = None,
    max_slots: int | None = None,
    ahead_of: str | None = None,
    behind: str | None = None,
    pool: str | None = None,
) -> JobEvent:
    """Return the event that says what is changed about a job. Raises Rejected unless it is exactly one thing."""
    changes: list[JobEvent] = []
    if priority is not None:
        changes.append(JobPrioritySet(experiment_id=experiment_id, priority=priority))
    if weight is not None and math.isfinite(weight):
        changes.append(JobWeightSet(experiment_id=experiment_id, weight=weight))
    if max_slots is not None:
        changes.append(JobMaxSlotsSet(experiment_id=experiment_id, max_slots=max_slots))
    if pool is not None:
        changes.append(JobPoolSet(experiment_id=experiment_id, pool_id=PoolId(pool)))
    for beside, ahead in ((ahead_of, True), (behind, False)):
        if beside is not None:
            changes.append(JobMoved(experiment_id=experiment_id, beside_id=ExperimentId(beside), ahead=ahead))
    if len(changes) != 1:
        message = f"give exactly one of priority, weight, max_slots, ahead_of, behind, pool; found {len(changes)}"
        raise Rejected(message, status=HTTPStatus.BAD_REQUEST)
    return changes[0]


def check_job(change: JobEvent, state: ExperimentState, slots_per_trial: int, beside: ExperimentState | None) -> None:
    """Raise Rejected when a change makes no sense: of or beside what is over, or a limit below one trial."""
    open_states = (ExperimentState.ACTIVE, ExperimentState.PAUSED)
    if state not in open_states:
        reason = f"experiment {change.experiment_id} is in no queue: {_NOT_ALLOWED[state]}"
        raise Rejected(reason, status=HTTPStatus.CONFLICT)
    if isinstance(change, JobMaxSlotsSet) and change.max_slots < slots_per_trial:
        message = f"{change.max_slots} is less than slots_per_trial {slots_per_trial}: no trial could start"
        raise Rejected("the trials could never start", (Problem("max_slots", message, f"at least {slots_per_trial}"),))
    if isinstance(change, JobMoved) and (beside not in open_states or change.beside_id == change.experiment_id):
        reason = f"experiment {change.experiment_id} cannot be moved beside {change.beside_id}, which is in no queue"
        if change.beside_id == change.experiment_id:
            reason = f"experiment {change.experiment_id} cannot be moved beside itself"
        raise Rejected(reason, status=HTTPStatus.CONFLICT)


def search_event(
    experiment_id: ExperimentId, *, max_trials: int | None, max_concurrent_trials: int | None
) -> SearchLimitsSet:
    """Return the event that says how a search's limits are changed. Raises Rejected when nothing is."""
    if max_trials is None and max_concurrent_trials is None:
        message = "give max_trials, max_concurrent_trials, or both"
        raise Rejected(message, status=HTTPStatus.BAD_REQUEST)
    return SearchLimitsSet(
        experiment_id=experiment_id, max_trials=max_trials, max_concurrent_trials=max_concurrent_trials
    )


def check_limits(change: SearchLimitsSet, state: ExperimentState, method: str) -> None:
    """Raise Rejected when a search's limits cannot be changed so: it is over, or its method has no such limit."""
    from shared.config.limits import limit_problems  # pydantic is 20 MB that an idle gateway does not need

    if state not in (ExperimentState.ACTIVE, ExperimentState.PAUSED):
        reason = f"experiment {change.experiment_id} cannot be changed: {_NOT_ALLOWED[state]}"
        raise Rejected(reason, status=HTTPStatus.CONFLICT)
    limits = {"max_trials": change.max_trials, "max_concurrent_trials": change.max_concurrent_trials}
    if problems := tuple(limit_problems(method, limits)):
        raise Rejected("the search cannot be changed so", problems)


def check_deletion(checkpoint: Checkpoint, trial: Trial, needed_by: str | None) -> None:
    """Raise Rejected when somebody may still start from a checkpoint: its open trial, if it is the newest one, or an
    open experiment that names it."""
    reason = None
    if checkpoint.state in (CheckpointState.DELETING, CheckpointState.DELETED):
        reason = "it is deleted already"
    elif trial.ended_at is None and trial.latest_checkpoint_id == checkpoint.id:
        reason = f"trial {trial.id} is not over and would resume from it; cancel the experiment first"
    elif needed_by is not None:
        reason = f"experiment {needed_by} starts its trials from it and is not over"
    if reason is not None:
        raise Rejected(f"checkpoint {checkpoint.id} cannot be deleted: {reason}", status=HTTPStatus.CONFLICT)


def check_resume_from(checkpoint_id: str, checkpoint: Checkpoint | None) -> None:
    """Raise Rejected when an experiment names a checkpoint to start from that is not there."""
    if checkpoint is None:
        message, mend = f"there is no checkpoint {checkpoint_id}", "tm checkpoint ls EXPERIMENT shows those that exist"
    elif checkpoint.state is not CheckpointState.ACTIVE:
        message, mend = f"checkpoint {checkpoint_id} is {checkpoint.state}", "choose another, or leave it out"
    else:
        return
    raise Rejected("the trials have nothing to start from", (Problem("resume_from", message, mend),))


def check_precision(config: Mapping[str, Any], kinds: AbstractSet[str]) -> None:
    """Raise Rejected for half precision on slots that cannot compute in it: fp16 on CPU slots, `kinds` being those of
    the pool's agents."""
    section = config["deepspeed"] or {}
    is_fp16 = section.get("precision") == "fp16" or (section.get("fp16") or {}).get("enabled") is True
    if is_fp16 and kinds == {"cpu"}:
        path = "deepspeed.precision" if "precision" in section else "deepspeed.fp16"
        message = f"pool {config['resources']['resource_pool']} has CPU slots only, which do not train in fp16"
        raise Rejected("the trials could not train", (Problem(path, message, "use bf16 or fp32"),))
