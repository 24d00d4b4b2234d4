"""Workspaces and their projects."""

from datetime import datetime

from services.gateway.views.view import View


class Workspace(View, frozen=True, kw_only=True):
    """Where a team keeps its experiments; `id` stands in addresses, `name` in experiment files and roles."""

    id: str
    name: str
    description: str
    archived: bool
    created_at: datetime
    created_by: str
    projects: int
    experiments: int
    seq: int


class WorkspacePage(View, frozen=True, kw_only=True):
    """Workspaces by name."""

    items: list[Workspace]
    next_cursor: str | None


class Project(View, frozen=True, kw_only=True):
    """A part of a workspace."""

    id: str
    workspace: str
    name: str
    description: str
    archived: bool
    created_at: datetime
    created_by: str
    experiments: int
    seq: int


class ProjectPage(View, frozen=True, kw_only=True):
    """Projects by name."""

    items: list[Project]
    next_cursor: str | None
