"""Questions about workspaces and projects, and how they are shown while the read model is behind."""

from datetime import UTC, datetime

import asyncpg

from services.gateway.access.access import principal
from services.gateway.past import ReadModel
from services.gateway.problems import not_found
from services.gateway.views.workspaces import Project, Workspace
from shared.events import ProjectCreated, WorkspaceCreated
from shared.ids import project_id, workspace_id

_WORKSPACES = """
SELECT w.*, (SELECT count(*) FROM projects p WHERE p.workspace = w.name) AS projects,
       (SELECT count(*) FROM experiments e WHERE e.workspace = w.name AND e.deletion IS NULL) AS experiments
FROM workspaces w
"""
_PROJECTS = """
SELECT p.*, (SELECT count(*) FROM experiments e
             WHERE e.workspace = p.workspace AND e.project = p.name AND e.deletion IS NULL) AS experiments
FROM projects p
"""
_ARCHIVED = """
SELECT (SELECT archived FROM workspaces WHERE id = $1) AS workspace,
       (SELECT archived FROM projects WHERE id = $2) AS project
"""


async def workspaces(
    database: ReadModel, limit: int, after: str, mine: frozenset[str] | None
) -> tuple[list[Workspace], str | None]:
    """Return those of these workspaces (None: of all) whose names come after a name, and where the next page begins."""
    which = "WHERE w.name > $1 AND ($2::text[] IS NULL OR w.name = ANY($2)) ORDER BY w.name LIMIT $3"
    rows = await database.fetch(_WORKSPACES + which, after, mine, limit + 1)
    return [_workspace(row) for row in rows[:limit]], rows[limit - 1]["name"] if len(rows) > limit else None


async def workspace(database: ReadModel, id_: str) -> Workspace:
    """Return one workspace. Raises Rejected (404)."""
    row = await database.fetchrow(f"{_WORKSPACES} WHERE w.id = $1", id_)
    if row is None:
        raise not_found("workspace", id_)
    return _workspace(row)


def workspace_as_made(event: WorkspaceCreated, seq: int) -> Workspace:
    """The workspace as it is in its first moment."""
    return Workspace(
        id=event.workspace_id,
        name=event.name,
        description=event.description,
        archived=False,
        created_at=datetime.now(UTC),
        created_by=principal.get().user_id,
        projects=0,
        experiments=0,
        seq=seq,
    )


async def projects(
    database: ReadModel, workspace_name: str, limit: int, after: str
) -> tuple[list[Project], str | None]:
    """Return a workspace's projects whose names come after a name, and where the next page begins."""
    which = "WHERE p.workspace = $1 AND p.name > $2 ORDER BY p.name LIMIT $3"
    rows = await database.fetch(_PROJECTS + which, workspace_name, after, limit + 1)
    return [_project(row) for row in rows[:limit]], rows[limit - 1]["name"] if len(rows) > limit else None


async def project(database: ReadModel, id_: str) -> Project:
    """Return one project. Raises Rejected (404)."""
    row = await database.fetchrow(f"{_PROJECTS} WHERE p.id = $1", id_)
    if row is None:
        raise not_found("project", id_)
    return _project(row)


def project_as_made(event: ProjectCreated, seq: int) -> Project:
    """The project as it is in its first moment."""
    return Project(
        id=event.project_id,
        workspace=event.workspace,
        name=event.name,
        description=event.description,
        archived=False,
        created_at=datetime.now(UTC),
        created_by=principal.get().user_id,
        experiments=0,
        seq=seq,
    )


async def archived(database: ReadModel, workspace_name: str, project_name: str) -> tuple[bool | None, bool | None]:
    """Say whether a workspace and a project of it are archived; None for what nobody named yet."""
    row = await database.fetchrow(_ARCHIVED, workspace_id(workspace_name), project_id(workspace_name, project_name))
    assert row is not None, "it is one row in any case"
    return row["workspace"], row["project"]


def _workspace(row: asyncpg.Record) -> Workspace:
    return Workspace(**{name: row[name] for name in Workspace.__struct_fields__})


def _project(row: asyncpg.Record) -> Project:
    return Project(**{name: row[name] for name in Project.__struct_fields__})
