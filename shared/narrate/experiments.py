"""Sentences of experiments, their searches, and the workspaces and projects they are filed in."""

from shared.events import (
    ExperimentArchived,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentDeleted,
    ExperimentDeletionRequested,
    ExperimentDescribed,
    ExperimentFailed,
    ExperimentMoved,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    ExperimentUnarchived,
    FinalMetricPredicted,
    ProjectArchived,
    ProjectCreated,
    ProjectDescribed,
    ProjectUnarchived,
    SearchLimitsSet,
    TrialCanceled,
    TrialClosed,
    TrialExtended,
    TrialRequested,
    TrialRetried,
    TrialStopped,
    WorkspaceArchived,
    WorkspaceCreated,
    WorkspaceDescribed,
    WorkspaceUnarchived,
)
from shared.narrate.sentence import sentence


@sentence.register
def _(event: ExperimentSubmitted) -> str:
    fork = f", a fork of {event.forked_from}" if event.forked_from else ""
    code = f"{event.code_bytes:,} bytes of code"
    return f"experiment {event.experiment_id} “{event.name}” was submitted with {code}{fork}"


@sentence.register
def _(event: ExperimentPaused) -> str:
    return f"experiment {event.experiment_id} was paused"


@sentence.register
def _(event: ExperimentResumed) -> str:
    return f"experiment {event.experiment_id} was resumed"


@sentence.register
def _(event: ExperimentCanceled) -> str:
    return f"experiment {event.experiment_id} was canceled"


@sentence.register
def _(event: SearchLimitsSet) -> str:
    limits = {"trials in all": event.max_trials, "trials at a time": event.max_concurrent_trials}
    said = " and ".join(f"{limit:,} {what}" for what, limit in limits.items() if limit is not None)
    return f"experiment {event.experiment_id} has at most {said or 'as many trials as before'} from here on"


@sentence.register
def _(event: ExperimentDescribed) -> str:
    changes = {"name": event.name, "description": event.description, "labels": event.labels, "notes": event.notes}
    changed = [name for name, value in changes.items() if value is not None]
    called = f": it is “{event.name}” now" if event.name is not None else ""
    return f"the {', '.join(changed) or 'nothing'} of experiment {event.experiment_id} changed{called}"


@sentence.register
def _(event: ExperimentMoved) -> str:
    where = f"project {event.project}" if event.project else "no project"
    return f"experiment {event.experiment_id} was moved to {where} of {_workspace(event.workspace)}"


@sentence.register
def _(event: ExperimentArchived) -> str:
    return f"experiment {event.experiment_id} was archived"


@sentence.register
def _(event: ExperimentUnarchived) -> str:
    return f"experiment {event.experiment_id} was taken out of the archive"


@sentence.register
def _(event: ExperimentDeletionRequested) -> str:
    return f"experiment {event.experiment_id} is to be deleted with its checkpoints"


@sentence.register
def _(event: ExperimentDeleted) -> str:
    return f"experiment {event.experiment_id} was deleted"


@sentence.register
def _(event: WorkspaceCreated) -> str:
    return f"workspace {event.name} was made"


@sentence.register
def _(event: WorkspaceDescribed) -> str:
    return f"workspace {event.workspace_id} was described: {_first_line(event.description)}"


@sentence.register
def _(event: WorkspaceArchived) -> str:
    return f"workspace {event.workspace_id} was archived"


@sentence.register
def _(event: WorkspaceUnarchived) -> str:
    return f"workspace {event.workspace_id} was taken out of the archive"


@sentence.register
def _(event: ProjectCreated) -> str:
    return f"project {event.name} was made in {_workspace(event.workspace)}"


@sentence.register
def _(event: ProjectDescribed) -> str:
    return f"project {event.project_id} was described: {_first_line(event.description)}"


@sentence.register
def _(event: ProjectArchived) -> str:
    return f"project {event.project_id} was archived"


@sentence.register
def _(event: ProjectUnarchived) -> str:
    return f"project {event.project_id} was taken out of the archive"


@sentence.register
def _(event: TrialCanceled) -> str:
    return f"trial {event.trial_id} was canceled"


@sentence.register
def _(event: TrialRequested) -> str:
    hyperparameters = ", ".join(f"{name}={_short(value)}" for name, value in event.hyperparameters.items())
    return f"trial {event.trial_id} was requested ({event.origin}): {hyperparameters or 'no hyperparameters'}"


@sentence.register
def _(event: FinalMetricPredicted) -> str:
    if event.mean is None:
        why = _first_line(event.reason)
        return f"nothing was predicted of trial {event.trial_id}, rung {event.rung} goes by its metric: {why}"
    spread = "" if event.std is None else f" ± {event.std:.2g}"
    return f"trial {event.trial_id}, at rung {event.rung}, is expected to come to {event.mean:.6g}{spread} in the end"


@sentence.register
def _(event: TrialExtended) -> str:
    return f"trial {event.trial_id} goes on to {event.target:,} units: {_first_line(event.reason)}"


@sentence.register
def _(event: TrialStopped) -> str:
    return f"trial {event.trial_id} is to stop: {_first_line(event.reason)}"


@sentence.register
def _(event: TrialRetried) -> str:
    return f"trial {event.trial_id} failed and tries again, restart {event.restarts}: {_first_line(event.reason)}"


@sentence.register
def _(event: TrialClosed) -> str:
    metric = "" if event.metric is None else f", best validation {event.metric:.6g} at step {event.step}"
    return f"trial {event.trial_id} is {event.end}: {_first_line(event.reason)}{metric}"


@sentence.register
def _(event: ExperimentCompleted) -> str:
    best = "" if event.best_metric is None else f"; best trial {event.best_trial_id} with {event.best_metric:.6g}"
    early = f" early: {_first_line(event.reason)}" if event.reason else ""
    return f"experiment {event.experiment_id} completed{early}{best}"


@sentence.register
def _(event: ExperimentFailed) -> str:
    return f"experiment {event.experiment_id} failed: {_first_line(event.reason)}"


@sentence.register
def _(event: ExperimentStopped) -> str:
    return f"canceled experiment {event.experiment_id} has no open trial left"


def _workspace(name: str) -> str:
    return f"workspace {name}" if name else "no workspace"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
