"""Where experiments are kept and what people write on them, as rows; see projection.py."""

from functools import singledispatch

from services.tracker import rows, runs
from services.tracker.statement import At, Statement
from shared.events import (
    Event,
    ExperimentArchived,
    ExperimentDeleted,
    ExperimentDeletionRequested,
    ExperimentDescribed,
    ExperimentMoved,
    ExperimentUnarchived,
    ProjectArchived,
    ProjectCreated,
    ProjectDescribed,
    ProjectEvent,
    ProjectUnarchived,
    WorkspaceArchived,
    WorkspaceCreated,
    WorkspaceDescribed,
    WorkspaceEvent,
    WorkspaceUnarchived,
)
from shared.ids import project_id, workspace_id


@singledispatch
def statements(event: Event, at: At) -> list[Statement]:
    """Return the writes that an event means; none for an event that no table shows."""
    return runs.statements(event, at)


_WORKSPACE_CREATED = """
INSERT INTO workspaces (id, name, description, created_at, created_by, seq) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO NOTHING
"""
_PROJECT_CREATED = """
INSERT INTO projects (id, workspace, name, description, created_at, created_by, seq) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING
"""


def named(workspace: str, project: str, at: At) -> list[Statement]:
    """Return the writes for a workspace and a project that an experiment names: they begin with it, if not before."""
    made: list[Statement] = []
    if workspace:
        made.append(_workspace_made(workspace_id(workspace), workspace, "", at))
    if project:
        made.append(_project_made(project_id(workspace, project), workspace, project, "", at))
    return made


def _workspace_made(id_: str, name: str, description: str, at: At) -> Statement:
    return Statement(
        _WORKSPACE_CREATED, (id_, rows.text(name), rows.text(description), at.time, at.actor, at.seq), (id_,)
    )


def _project_made(id_: str, workspace: str, name: str, description: str, at: At) -> Statement:
    words = (rows.text(workspace), rows.text(name), rows.text(description))
    return Statement(_PROJECT_CREATED, (id_, *words, at.time, at.actor, at.seq), (id_,))


@statements.register
def _workspace_created(event: WorkspaceCreated, at: At) -> list[Statement]:
    return [_workspace_made(event.workspace_id, event.name, event.description, at)]


@statements.register
def _project_created(event: ProjectCreated, at: At) -> list[Statement]:
    return [
        *named(event.workspace, "", at),
        _project_made(event.project_id, event.workspace, event.name, event.description, at),
    ]


_WORKSPACE_FILED = "UPDATE workspaces SET archived = $2, seq = $3 WHERE id = $1"
_PROJECT_FILED = "UPDATE projects SET archived = $2, seq = $3 WHERE id = $1"


@statements.register(WorkspaceArchived)
@statements.register(WorkspaceUnarchived)
def _workspace_filed(event: WorkspaceEvent, at: At) -> list[Statement]:
    args = (event.workspace_id, isinstance(event, WorkspaceArchived), at.seq)
    return [Statement(_WORKSPACE_FILED, args, (event.workspace_id,))]


@statements.register(ProjectArchived)
@statements.register(ProjectUnarchived)
def _project_filed(event: ProjectEvent, at: At) -> list[Statement]:
    args = (event.project_id, isinstance(event, ProjectArchived), at.seq)
    return [Statement(_PROJECT_FILED, args, (event.project_id,))]


_WORKSPACE_DESCRIBED = "UPDATE workspaces SET description = $2, seq = $3 WHERE id = $1"
_PROJECT_DESCRIBED = "UPDATE projects SET description = $2, seq = $3 WHERE id = $1"


@statements.register
def _workspace_described(event: WorkspaceDescribed, at: At) -> list[Statement]:
    args = (event.workspace_id, rows.text(event.description), at.seq)
    return [Statement(_WORKSPACE_DESCRIBED, args, (event.workspace_id,))]


@statements.register
def _project_described(event: ProjectDescribed, at: At) -> list[Statement]:
    args = (event.project_id, rows.text(event.description), at.seq)
    return [Statement(_PROJECT_DESCRIBED, args, (event.project_id,))]


_DESCRIBED = """
UPDATE experiments SET name = COALESCE($2, name), description = COALESCE($3, description),
                       labels = COALESCE($4, labels), notes = COALESCE($5, notes), seq = $6
WHERE id = $1
"""


@statements.register
def _experiment_described(event: ExperimentDescribed, at: At) -> list[Statement]:
    labels = None if event.labels is None else [rows.text(label) for label in event.labels]
    words = (rows.text(event.name), rows.text(event.description), labels, rows.text(event.notes))
    return [Statement(_DESCRIBED, (event.experiment_id, *words, at.seq), (event.experiment_id,))]


_MOVED = "UPDATE experiments SET workspace = $2, project = $3, seq = $4 WHERE id = $1"


@statements.register
def _experiment_moved(event: ExperimentMoved, at: At) -> list[Statement]:
    args = (event.experiment_id, rows.text(event.workspace), rows.text(event.project), at.seq)
    return [*named(event.workspace, event.project, at), Statement(_MOVED, args, (event.experiment_id,))]


_FILED = "UPDATE experiments SET archived = $2, seq = $3 WHERE id = $1"


@statements.register(ExperimentArchived)
@statements.register(ExperimentUnarchived)
def _experiment_filed(event: ExperimentArchived | ExperimentUnarchived, at: At) -> list[Statement]:
    args = (event.experiment_id, isinstance(event, ExperimentArchived), at.seq)
    return [Statement(_FILED, args, (event.experiment_id,))]


_GONE = "UPDATE experiments SET deletion = $2, seq = $3 WHERE id = $1 AND deletion IS DISTINCT FROM 'DONE'"


@statements.register(ExperimentDeletionRequested)
@statements.register(ExperimentDeleted)
def _experiment_gone(event: ExperimentDeletionRequested | ExperimentDeleted, at: At) -> list[Statement]:
    deletion = "DONE" if isinstance(event, ExperimentDeleted) else "REQUESTED"
    return [Statement(_GONE, (event.experiment_id, deletion, at.seq), (event.experiment_id,))]
