"""Workspaces, and the projects in them."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta
from msgspec.structs import replace

from services.gateway import cursor, intents, places
from services.gateway.access import permit
from services.gateway.access.access import principal
from services.gateway.api import PREFIX, Body, Call, NoQuery, PastQuery, Route, get, json_response, post, read_body
from services.gateway.cursor import Cursor
from services.gateway.views.workspaces import Project, ProjectPage, Workspace, WorkspacePage
from shared.errors import Rejected
from shared.events import (
    ProjectArchived,
    ProjectCreated,
    ProjectDescribed,
    ProjectEvent,
    ProjectUnarchived,
    Role,
    WorkspaceArchived,
    WorkspaceCreated,
    WorkspaceDescribed,
    WorkspaceEvent,
    WorkspaceUnarchived,
)
from shared.ids import ProjectId, WorkspaceId, project_id, workspace_id

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
Description = Annotated[str, Meta(max_length=65_536, pattern=r"^[^\x00]*$")]


class PlacesQuery(PastQuery, frozen=True, kw_only=True):
    """Which part of a list by name."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    cursor: Cursor | None = None


class WantedPlace(Body, frozen=True, kw_only=True):
    """What a workspace or a project is called, and for what it is."""

    name: Name
    description: Description = ""


class PlaceDescription(Body, frozen=True, kw_only=True):
    """For what a workspace or a project is."""

    description: Description


async def list_workspaces(call: Call[PlacesQuery]) -> WorkspacePage:
    """The workspaces that are open to who asks, by name."""
    after, mine = cursor.read(call.query.cursor, cursor.Text, ""), principal.get().workspaces(Role.VIEWER)
    async with call.reading() as database:
        items, end = await places.workspaces(database, call.query.limit, after, mine)
    return WorkspacePage(items=items, next_cursor=None if end is None else cursor.write(end))


async def show_workspace(call: Call[PastQuery]) -> Workspace:
    """One workspace."""
    async with call.reading() as database:
        return await places.workspace(database, call.id("workspace"))


async def create_workspace(call: Call[NoQuery]) -> web.StreamResponse:
    """Make a workspace."""
    asked, parts = await read_body(call.request, WantedPlace), call.parts
    permit.require(Role.EDITOR, asked.name)
    id_ = workspace_id(asked.name)
    if (await places.archived(parts.database, asked.name, ""))[0] is not None:
        raise Rejected(f"there is a workspace {asked.name} already", status=HTTPStatus.CONFLICT)
    event = WorkspaceCreated(workspace_id=id_, name=asked.name, description=asked.description)
    seq = await intents.make_place(parts.client, event)
    is_shown = await parts.position.shown(seq)
    shown = await places.workspace(parts.database, id_) if is_shown else places.workspace_as_made(event, seq)
    return json_response(shown, seq=seq, status=HTTPStatus.CREATED, location=f"{PREFIX}/workspaces/{id_}")


async def list_projects(call: Call[PlacesQuery]) -> ProjectPage:
    """A workspace's projects, by name."""
    after = cursor.read(call.query.cursor, cursor.Text, "")
    async with call.reading() as database:
        workspace = await places.workspace(database, call.id("workspace"))
        items, end = await places.projects(database, workspace.name, call.query.limit, after)
    return ProjectPage(items=items, next_cursor=None if end is None else cursor.write(end))


async def show_project(call: Call[PastQuery]) -> Project:
    """One project."""
    async with call.reading() as database:
        return await places.project(database, call.id("project"))


async def create_project(call: Call[NoQuery]) -> web.StreamResponse:
    """Make a project in a workspace."""
    asked, parts = await read_body(call.request, WantedPlace), call.parts
    workspace = await places.workspace(parts.database, call.id("workspace"))
    id_ = project_id(workspace.name, asked.name)
    if workspace.archived:
        raise Rejected(f"workspace {workspace.name} is archived", status=HTTPStatus.CONFLICT)
    if (await places.archived(parts.database, workspace.name, asked.name))[1] is not None:
        raise Rejected(f"there is a project {asked.name} in {workspace.name} already", status=HTTPStatus.CONFLICT)
    event = ProjectCreated(project_id=id_, workspace=workspace.name, name=asked.name, description=asked.description)
    seq = await intents.make_place(parts.client, event)
    is_shown = await parts.position.shown(seq)
    shown = await places.project(parts.database, id_) if is_shown else places.project_as_made(event, seq)
    return json_response(shown, seq=seq, status=HTTPStatus.CREATED, location=f"{PREFIX}/projects/{id_}")


async def describe_workspace(call: Call[NoQuery]) -> web.StreamResponse:
    """Say for what a workspace is."""
    asked = await read_body(call.request, PlaceDescription)
    shown = await places.workspace(call.parts.database, call.id("workspace"))
    event = WorkspaceDescribed(workspace_id=WorkspaceId(shown.id), description=asked.description)
    changed = replace(shown, description=asked.description)
    return await _change_workspace(call, event, await _check_unchanged(call, shown), changed)


async def describe_project(call: Call[NoQuery]) -> web.StreamResponse:
    """Say for what a project is."""
    asked = await read_body(call.request, PlaceDescription)
    shown = await places.project(call.parts.database, call.id("project"))
    event = ProjectDescribed(project_id=ProjectId(shown.id), description=asked.description)
    changed = replace(shown, description=asked.description)
    return await _change_project(call, event, await _check_unchanged(call, shown), changed)


def _file_workspace(*, archived: bool) -> Callable[[Call[NoQuery]], Awaitable[web.StreamResponse]]:
    async def file(call: Call[NoQuery]) -> web.StreamResponse:
        shown = await places.workspace(call.parts.database, call.id("workspace"))
        known = await _check_unchanged(call, shown)
        _check_change(f"workspace {shown.name}", was=shown.archived, to=archived)
        event = (WorkspaceArchived if archived else WorkspaceUnarchived)(workspace_id=WorkspaceId(shown.id))
        return await _change_workspace(call, event, known, replace(shown, archived=archived))

    return file


def _file_project(*, archived: bool) -> Callable[[Call[NoQuery]], Awaitable[web.StreamResponse]]:
    async def file(call: Call[NoQuery]) -> web.StreamResponse:
        shown = await places.project(call.parts.database, call.id("project"))
        known = await _check_unchanged(call, shown)
        _check_change(f"project {shown.name}", was=shown.archived, to=archived)
        event = (ProjectArchived if archived else ProjectUnarchived)(project_id=ProjectId(shown.id))
        return await _change_project(call, event, known, replace(shown, archived=archived))

    return file


async def _check_unchanged(call: Call[NoQuery], shown: Workspace | Project) -> int | None:
    async def look() -> Workspace | Project:
        return shown

    return await call.check_unchanged(look)


async def _change_workspace(
    call: Call[NoQuery], event: WorkspaceEvent, known: int | None, changed: Workspace
) -> web.Response:
    """`changed`: what the event makes of it, to be shown while the read model is behind."""
    seq = await intents.change_place(call.parts.client, event, known_seq=known)
    if await call.parts.position.shown(seq):
        return json_response(await places.workspace(call.parts.database, event.workspace_id), seq=seq)
    return json_response(replace(changed, seq=seq), seq=seq)


async def _change_project(
    call: Call[NoQuery], event: ProjectEvent, known: int | None, changed: Project
) -> web.Response:
    seq = await intents.change_place(call.parts.client, event, known_seq=known)
    if await call.parts.position.shown(seq):
        return json_response(await places.project(call.parts.database, event.project_id), seq=seq)
    return json_response(replace(changed, seq=seq), seq=seq)


def _check_change(what: str, *, was: bool, to: bool) -> None:
    if was == to:
        raise Rejected(f"{what} is {'archived already' if was else 'not archived'}", status=HTTPStatus.CONFLICT)


def _describing(kind: str, respond: Callable[[Call[NoQuery]], Awaitable[web.StreamResponse]], summary: str) -> Route:
    answer = Workspace if kind == "workspaces" else Project
    problems = (400, 404, 409, 412, 422)
    path = f"{PREFIX}/{kind}/{{id}}"
    return post(path, respond, answer, summary, query=NoQuery, body=PlaceDescription, problems=problems, method="PATCH")


def _filing(kind: str, verb: str, summary: str) -> Route:
    archived = verb == "archive"
    respond = _file_workspace(archived=archived) if kind == "workspaces" else _file_project(archived=archived)
    answer = Workspace if kind == "workspaces" else Project
    return post(f"{PREFIX}/{kind}/{{id}}/{verb}", respond, answer, summary, query=NoQuery, problems=(404, 409, 412))


ROUTES = (
    get(f"{PREFIX}/workspaces", list_workspaces, PlacesQuery, WorkspacePage, "List the workspaces", is_cached=True),
    post(
        f"{PREFIX}/workspaces",
        create_workspace,
        Workspace,
        "Make a workspace",
        status=HTTPStatus.CREATED,
        body=WantedPlace,
        problems=(400, 409, 422),
        query=NoQuery,
    ),
    get(f"{PREFIX}/workspaces/{{id}}", show_workspace, PastQuery, Workspace, "Show a workspace", is_cached=True),
    _describing("workspaces", describe_workspace, "Say for what a workspace is"),
    _filing("workspaces", "archive", "Close a workspace: no experiment is submitted or moved into it any more"),
    _filing("workspaces", "unarchive", "Open an archived workspace again"),
    get(
        f"{PREFIX}/workspaces/{{id}}/projects",
        list_projects,
        PlacesQuery,
        ProjectPage,
        "List a workspace's projects",
        is_cached=True,
    ),
    post(
        f"{PREFIX}/workspaces/{{id}}/projects",
        create_project,
        Project,
        "Make a project in a workspace",
        status=HTTPStatus.CREATED,
        body=WantedPlace,
        problems=(400, 404, 409, 422),
        query=NoQuery,
    ),
    get(f"{PREFIX}/projects/{{id}}", show_project, PastQuery, Project, "Show a project", is_cached=True),
    _describing("projects", describe_project, "Say for what a project is"),
    _filing("projects", "archive", "Close a project: no experiment is submitted or moved into it any more"),
    _filing("projects", "unarchive", "Open an archived project again"),
)
