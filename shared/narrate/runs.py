"""Sentences of tracked experiments, runs and models: what is recorded by the MLflow protocol."""

from shared.events import (
    ModelChanged,
    ModelDeleted,
    ModelLogged,
    RunAnnotated,
    RunChanged,
    RunCreated,
    RunDeleted,
    RunLinked,
    RunRestored,
    TrackedExperimentChanged,
    TrackedExperimentCreated,
    TrackedExperimentDeleted,
    TrackedExperimentRestored,
)
from shared.narrate.sentence import sentence
from shared.narrate.words import where


@sentence.register
def _(event: TrackedExperimentCreated) -> str:
    return f"experiment {event.experiment_id} “{event.name}” was made for runs {where(event.workspace)}"


@sentence.register
def _(event: TrackedExperimentChanged) -> str:
    name = f"its name is “{event.name}”" if event.name is not None else ""
    return f"experiment {event.experiment_id} of runs: {'; '.join(filter(None, (name, _tags(event))))}"


@sentence.register
def _(event: TrackedExperimentDeleted) -> str:
    return f"experiment {event.experiment_id} was put aside with its runs"


@sentence.register
def _(event: TrackedExperimentRestored) -> str:
    return f"experiment {event.experiment_id} was taken back with its runs"


@sentence.register
def _(event: RunCreated) -> str:
    return f"run {event.run_id} “{event.name}” began in experiment {event.experiment_id}"


@sentence.register
def _(event: RunChanged) -> str:
    name = f"its name is “{event.name}”" if event.name is not None else ""
    status = f"it is {event.status}" if event.status is not None else ""
    ended = f"it ended at {event.ended_at:%Y-%m-%d %H:%M:%S} UTC" if event.ended_at else ""
    return f"run {event.run_id}: {'; '.join(filter(None, (name, status, ended)))}"


@sentence.register
def _(event: RunAnnotated) -> str:
    params = f"parameters {', '.join(event.params)}" if event.params else ""
    return f"run {event.run_id}: {'; '.join(filter(None, (params, _tags(event))))}"


@sentence.register
def _(event: RunLinked) -> str:
    told = (
        ("read data set", [dataset.name for dataset in event.datasets]),
        ("used model", [model.model_id for model in event.used]),
        ("made model", [model.model_id for model in event.made]),
    )
    return f"run {event.run_id} " + "; ".join(f"{what} {', '.join(names)}" for what, names in told if names)


@sentence.register
def _(event: RunDeleted) -> str:
    return f"run {event.run_id} was put aside"


@sentence.register
def _(event: RunRestored) -> str:
    return f"run {event.run_id} was taken back"


@sentence.register
def _(event: ModelLogged) -> str:
    source = f" by run {event.run_id}" if event.run_id else ""
    return f"model {event.model_id} “{event.name}” is being logged{source}"


@sentence.register
def _(event: ModelChanged) -> str:
    status = f"it is {event.status.removeprefix('LOGGED_MODEL_')}" if event.status is not None else ""
    params = f"parameters {', '.join(event.params)}" if event.params else ""
    return f"model {event.model_id}: {'; '.join(filter(None, (status, params, _tags(event))))}"


@sentence.register
def _(event: ModelDeleted) -> str:
    return f"model {event.model_id} was deleted"


def _tags(event: TrackedExperimentChanged | RunAnnotated | ModelChanged) -> str:
    changed = (("tags", [*event.tags]), ("without tags", [*event.removed_tags]))
    return "; ".join(f"{what} {', '.join(names)}" for what, names in changed if names)
