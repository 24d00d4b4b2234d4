"""Events of workspaces and of the projects in them: where a team keeps its experiments (gateway).

A workspace or a project also begins when the first experiment names it.
"""

from typing import ClassVar

from shared.events.event import Event
from shared.ids import ProjectId, WorkspaceId


class WorkspaceEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a workspace."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "workspace"
    aggregate_field: ClassVar[str] = "workspace_id"

    workspace_id: WorkspaceId


class WorkspaceCreated(WorkspaceEvent, frozen=True, kw_only=True):
    """A user made a workspace; its name is what experiment files and roles say."""

    name: str
    description: str


class WorkspaceDescribed(WorkspaceEvent, frozen=True, kw_only=True):
    """A user said anew what a workspace is for."""

    description: str


class WorkspaceArchived(WorkspaceEvent, frozen=True, kw_only=True):
    """A user closed a workspace: no experiment is submitted or moved into it from here on."""


class WorkspaceUnarchived(WorkspaceEvent, frozen=True, kw_only=True):
    """A user opened an archived workspace again."""


class ProjectEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a project."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "project"
    aggregate_field: ClassVar[str] = "project_id"

    project_id: ProjectId


class ProjectCreated(ProjectEvent, frozen=True, kw_only=True):
    """A user made a project in a workspace."""

    workspace: str
    name: str
    description: str


class ProjectDescribed(ProjectEvent, frozen=True, kw_only=True):
    """A user said anew what a project is for."""

    description: str


class ProjectArchived(ProjectEvent, frozen=True, kw_only=True):
    """A user closed a project: no experiment is submitted or moved into it from here on."""


class ProjectUnarchived(ProjectEvent, frozen=True, kw_only=True):
    """A user opened an archived project again."""
