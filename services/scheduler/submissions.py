"""Experiments and what people ask of them: what that changes of the scheduler's memory."""

from msgspec.structs import replace

from services.scheduler.lanes import beside
from services.scheduler.memory import State, update_experiment
from services.scheduler.records import PREEMPTION_TIMEOUT_S, Experiment, Job
from shared.events import (
    DEFAULT_PRIORITY,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    JobMaxSlotsSet,
    JobMoved,
    JobPoolSet,
    JobPrioritySet,
    JobWeightSet,
)
from shared.ids import ExperimentId


def submitted(event: ExperimentSubmitted, seq: int, state: State) -> None:
    """An experiment may have trials from here on."""
    timeout_s = float(event.config.get("preemption_timeout", PREEMPTION_TIMEOUT_S))
    state.experiments[event.experiment_id] = Experiment(
        preemption_timeout_s=timeout_s, job=_job(event, seq), workspace=str(event.config.get("workspace", ""))
    )


def _job(event: ExperimentSubmitted, seq: int) -> Job:
    asked = event.config.get("resources", {})  # experiments of older versions say less
    priority, weight, max_slots = asked.get("priority"), asked.get("weight"), asked.get("max_slots")
    return Job(
        position=float(seq),
        submitted_seq=seq,
        priority=DEFAULT_PRIORITY if priority is None else int(priority),
        weight=1.0 if weight is None else float(weight),
        max_slots=max_slots,
        preemptible=bool(asked.get("preemptible", True)),
    )


def priority_set(event: JobPrioritySet, seq: int, state: State) -> None:
    """A new priority puts the job at the place of its submission."""
    if experiment := state.experiments.get(event.experiment_id):
        position = float(experiment.job.submitted_seq)
        _update_job(state, event.experiment_id, priority=event.priority, position=position)


def weight_set(event: JobWeightSet, seq: int, state: State) -> None:
    """A new weight."""
    _update_job(state, event.experiment_id, weight=event.weight)


def max_slots_set(event: JobMaxSlotsSet, seq: int, state: State) -> None:
    """A new limit, or none."""
    _update_job(state, event.experiment_id, max_slots=event.max_slots)


def moved(event: JobMoved, seq: int, state: State) -> None:
    """Into the other's lane, between it and its neighbour there. Void when the other is over."""
    anchor = state.experiments.get(event.beside_id)
    if anchor is None or event.beside_id == event.experiment_id:
        return
    lane = [
        experiment.job.position
        for experiment_id, experiment in state.experiments.items()
        if experiment_id != event.experiment_id and experiment.job.priority == anchor.job.priority
    ]
    position = beside(anchor.job.position, lane, ahead=event.ahead)
    _update_job(state, event.experiment_id, priority=anchor.job.priority, position=position)


def pool_set(event: JobPoolSet, seq: int, state: State) -> None:
    """Its trials wait in another pool; those that hold slots, once they have stopped."""
    if event.experiment_id not in state.experiments:
        return
    update_experiment(state, event.experiment_id, pool_id=event.pool_id, moved_seq=seq)
    for trial in [state.trials[trial_id] for trial_id in state.trials_of.get(event.experiment_id, ())]:
        state.trials[trial.trial_id] = replace(trial, pool_id=event.pool_id)
        if trial.trial_id in state.waiting.get(trial.pool_id, {}):
            del state.waiting[trial.pool_id][trial.trial_id]
            state.waiting.setdefault(event.pool_id, {})[trial.trial_id] = None


def paused(event: ExperimentPaused, seq: int, state: State) -> None:
    """Its trials stop, and wait for it to be resumed."""
    update_experiment(state, event.experiment_id, paused_seq=seq)


def resumed(event: ExperimentResumed, seq: int, state: State) -> None:
    """Its trials may run again."""
    update_experiment(state, event.experiment_id, paused_seq=None)


def canceled(event: ExperimentCanceled, seq: int, state: State) -> None:
    """Its trials stop for good."""
    update_experiment(state, event.experiment_id, canceled_seq=seq)


def ended(event: ExperimentCompleted | ExperimentFailed | ExperimentStopped, seq: int, state: State) -> None:
    """Nothing of it is open any more."""
    state.experiments.pop(event.experiment_id, None)


def _update_job(state: State, experiment_id: ExperimentId, **changes: float) -> None:
    experiment = state.experiments.get(experiment_id)
    if experiment:
        job = replace(experiment.job, **changes)
        state.experiments[experiment_id] = replace(experiment, job=job)
