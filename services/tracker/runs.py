"""Runs, their experiments and logged models, as rows; see projection.py."""

from datetime import datetime
from functools import singledispatch

import msgspec

from services.tracker import rows
from services.tracker.statement import At, Statement
from shared.events import (
    Event,
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

NAME_TAG = "mlflow.runName"  # a client may name its run by this tag


@singledispatch
def statements(event: Event, at: At) -> list[Statement]:
    """Return the writes that an event means; none for an event that no table shows."""
    return []


_EXPERIMENT_CREATED = """
INSERT INTO tracked_experiments (id, name, workspace, tags, created_at, updated_at, created_by, seq)
VALUES ($1, $2, $3, $4, $5, $5, $6, $7) ON CONFLICT (id) DO NOTHING
"""


@statements.register
def _experiment_created(event: TrackedExperimentCreated, at: At) -> list[Statement]:
    told = (rows.text(event.name), rows.text(event.workspace), rows.json(event.tags))
    args = (event.experiment_id, *told, at.time, at.actor, at.seq)
    return [Statement(_EXPERIMENT_CREATED, args, (event.experiment_id,))]


# What was folded already is folded anew after some migrations: an older event changes nothing then.
_EXPERIMENT_CHANGED = """
UPDATE tracked_experiments SET name = COALESCE($2, name), tags = (tags || $3) - $4::text[],
                               deleted = COALESCE($5, deleted), updated_at = $6, seq = $7
WHERE id = $1 AND seq < $7
"""


def _experiment_is(
    experiment_id: str, at: At, *, change: TrackedExperimentChanged | None = None, deleted: bool | None = None
) -> list[Statement]:
    name, tags, removed = (change.name, change.tags, change.removed_tags) if change else (None, {}, ())
    args = (experiment_id, rows.text(name), rows.json(tags), [*map(rows.text, removed)], deleted, at.time, at.seq)
    return [Statement(_EXPERIMENT_CHANGED, args, (experiment_id,))]


@statements.register
def _experiment_changed(event: TrackedExperimentChanged, at: At) -> list[Statement]:
    return _experiment_is(event.experiment_id, at, change=event)


@statements.register
def _experiment_deleted(event: TrackedExperimentDeleted, at: At) -> list[Statement]:
    return _experiment_is(event.experiment_id, at, deleted=True)


@statements.register
def _experiment_restored(event: TrackedExperimentRestored, at: At) -> list[Statement]:
    return _experiment_is(event.experiment_id, at, deleted=False)


_RUN_CREATED = """
INSERT INTO runs (id, experiment_id, name, owner, status, tags, started_at, created_seq, seq)
VALUES ($1, $2, $3, $4, 'RUNNING', $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING
"""


@statements.register
def _run_created(event: RunCreated, at: At) -> list[Statement]:
    told = (rows.text(event.name), at.actor, rows.json(event.tags), event.started_at)
    return [Statement(_RUN_CREATED, (event.run_id, event.experiment_id, *told, at.seq), (event.run_id,))]


_RUN_CHANGED = """
UPDATE runs SET name = COALESCE($2, name), status = COALESCE($3, status), ended_at = COALESCE($4, ended_at),
                deleted = COALESCE($5, deleted), seq = $6
WHERE id = $1 AND seq < $6
"""


def _run_is(  # one for each column
    run_id: str,
    at: At,
    *,
    name: str | None = None,
    status: str | None = None,
    ended_at: datetime | None = None,
    deleted: bool | None = None,
) -> list[Statement]:
    return [Statement(_RUN_CHANGED, (run_id, rows.text(name), status, ended_at, deleted, at.seq), (run_id,))]


@statements.register
def _run_changed(event: RunChanged, at: At) -> list[Statement]:
    status = None if event.status is None else event.status.value
    return _run_is(event.run_id, at, name=event.name, status=status, ended_at=event.ended_at)


@statements.register
def _run_deleted(event: RunDeleted, at: At) -> list[Statement]:
    return _run_is(event.run_id, at, deleted=True)


@statements.register
def _run_restored(event: RunRestored, at: At) -> list[Statement]:
    return _run_is(event.run_id, at, deleted=False)


_RUN_ANNOTATED = """
UPDATE runs SET params = $2 || params, tags = (tags || $3) - $4::text[], name = COALESCE($5, name), seq = $6
WHERE id = $1 AND seq < $6
"""


@statements.register
def _run_annotated(event: RunAnnotated, at: At) -> list[Statement]:
    name = rows.text(event.tags.get(NAME_TAG))
    told = (rows.json(event.params), rows.json(event.tags), [*map(rows.text, event.removed_tags)], name)
    return [Statement(_RUN_ANNOTATED, (event.run_id, *told, at.seq), (event.run_id,))]


_RUN_LINKED = """
UPDATE runs SET datasets = datasets || $2, used = used || $3, made = made || $4, seq = $5 WHERE id = $1 AND seq < $5
"""


@statements.register
def _run_linked(event: RunLinked, at: At) -> list[Statement]:
    told = (rows.json(msgspec.to_builtins(items)) for items in (event.datasets, event.used, event.made))
    return [Statement(_RUN_LINKED, (event.run_id, *told, at.seq), (event.run_id,))]


_MODEL_LOGGED = """
INSERT INTO logged_models (id, experiment_id, run_id, name, model_type, status, params, tags, created_at, updated_at,
                           seq)
VALUES ($1, $2, $3, $4, $5, 'LOGGED_MODEL_PENDING', $6, $7, $8, $8, $9) ON CONFLICT (id) DO NOTHING
"""


@statements.register
def _model_logged(event: ModelLogged, at: At) -> list[Statement]:
    told = (rows.text(event.name), rows.text(event.model_type), rows.json(event.params), rows.json(event.tags))
    args = (event.model_id, event.experiment_id, rows.text(event.run_id), *told, at.time, at.seq)
    return [Statement(_MODEL_LOGGED, args, (event.model_id,))]


_MODEL_CHANGED = """
UPDATE logged_models SET status = COALESCE($2, status), params = $3 || params, tags = (tags || $4) - $5::text[],
                         updated_at = $6, seq = $7
WHERE id = $1 AND seq < $7
"""


@statements.register
def _model_changed(event: ModelChanged, at: At) -> list[Statement]:
    status = None if event.status is None else event.status.value
    told = (status, rows.json(event.params), rows.json(event.tags), [*map(rows.text, event.removed_tags)])
    return [Statement(_MODEL_CHANGED, (event.model_id, *told, at.time, at.seq), (event.model_id,))]


_MODEL_DELETED = "UPDATE logged_models SET deleted = true, updated_at = $2, seq = $3 WHERE id = $1 AND seq < $3"


@statements.register
def _model_deleted(event: ModelDeleted, at: At) -> list[Statement]:
    return [Statement(_MODEL_DELETED, (event.model_id, at.time, at.seq), (event.model_id,))]
