# Made by trainmaster/client/generate.py from its sync counterpart: change that one.
"""Where experiments are kept, and what a team does with them day by day."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast
from urllib.parse import quote

from trainmaster.client.shapes import Experiment, Outcome, Project, Workspace

Json = Callable[..., Awaitable[dict[str, Any]]]
Pages = Callable[[str], AsyncIterator[dict[str, Any]]]


class Filing:
    """The part of the client that files experiments. Methods raise ApiError and Unreachable."""

    def __init__(self, json: Json, pages: Pages) -> None:
        self._json = json
        self._pages = pages

    async def fork(
        self,
        experiment_id: str,
        *,
        name: str | None = None,
        checkpoint: str | None = None,
        trial: str | None = None,
        changes: dict[str, object] | None = None,
    ) -> Experiment:
        """Submit an experiment's file and code again; `changes` maps paths of the file to values.

        All trials start from `checkpoint`; with `trial` that one alone is trained on.
        """
        body = {"name": name, "checkpoint": checkpoint, "trial": trial, "set": changes or {}}
        return cast("Experiment", await self._json("POST", f"/experiments/{experiment_id}/fork", body=body))

    async def describe(self, experiment_id: str, **changes: object) -> Experiment:
        """Change an experiment's `name`, `description`, `labels` or `notes`."""
        return cast("Experiment", await self._json("PATCH", f"/experiments/{experiment_id}", body=changes))

    async def ask_many(self, action: str, ids: Sequence[str], **more: object) -> list[Outcome]:
        """Ask the same of many: archive, unarchive, delete, pause, resume, cancel; move (to `workspace`, `project`) or
        label (`add`, `remove`). Return what became of each.
        """
        body = {"action": action, "ids": list(ids)} | more
        return cast("list[Outcome]", (await self._json("POST", "/experiments/bulk", body=body))["items"])

    def workspaces(self) -> AsyncIterator[Workspace]:
        """Yield all workspaces by name."""
        return cast("AsyncIterator[Workspace]", self._pages("/workspaces"))

    async def create_workspace(self, name: str, description: str = "") -> Workspace:
        """Make a workspace."""
        return cast(
            "Workspace", await self._json("POST", "/workspaces", body={"name": name, "description": description})
        )

    async def describe_workspace(self, workspace_id: str, description: str) -> Workspace:
        """Say for what a workspace is."""
        path = f"/workspaces/{quote(workspace_id, safe='')}"
        return cast("Workspace", await self._json("PATCH", path, body={"description": description}))

    async def describe_project(self, project_id: str, description: str) -> Project:
        """Say for what a project is."""
        path = f"/projects/{quote(project_id, safe='')}"
        return cast("Project", await self._json("PATCH", path, body={"description": description}))

    def projects(self, workspace_id: str) -> AsyncIterator[Project]:
        """Yield a workspace's projects by name."""
        return cast("AsyncIterator[Project]", self._pages(f"/workspaces/{quote(workspace_id, safe='')}/projects"))

    async def create_project(self, workspace_id: str, name: str, description: str = "") -> Project:
        """Make a project."""
        path = f"/workspaces/{quote(workspace_id, safe='')}/projects"
        return cast("Project", await self._json("POST", path, body={"name": name, "description": description}))

    async def archive_workspace(self, workspace_id: str, *, archived: bool) -> Workspace:
        """Close a workspace, or open it again."""
        return cast(
            "Workspace", await self._json("POST", f"/workspaces/{quote(workspace_id, safe='')}/{_verb(archived)}")
        )

    async def archive_project(self, project_id: str, *, archived: bool) -> Project:
        """Close a project, or open it again."""
        return cast("Project", await self._json("POST", f"/projects/{quote(project_id, safe='')}/{_verb(archived)}"))


def _verb(archived: bool) -> str:
    return "archive" if archived else "unarchive"
