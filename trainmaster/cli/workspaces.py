"""tm workspace, tm project."""

import click

from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json, print_table
from trainmaster.client import Client
from trainmaster.client.shapes import Project, Workspace

description_option = click.option("--description", default="", help="What it is for.")


@click.group()
def workspace() -> None:
    """Manage workspaces, where a team keeps its experiments."""


@workspace.command(name="ls")
@data_option
@json_option
def list_workspaces(data: str | None, *, as_json: bool) -> None:
    """List the workspaces that are open to you."""
    with platform_client(data) as client:
        found = list(client.filing.workspaces())
    if as_json:
        print_json(found)
        return
    columns = ("WORKSPACE", "STATE", "PROJECTS", "EXPERIMENTS", "MADE BY", "MADE", "DESCRIPTION")
    print_table(columns, (_workspace_row(one) for one in found))


@workspace.command(name="create")
@click.argument("name")
@description_option
@data_option
@json_option
def create_workspace(name: str, description: str, data: str | None, *, as_json: bool) -> None:
    """Make a workspace; experiment files name it in `workspace`."""
    with platform_client(data) as client:
        made = client.filing.create_workspace(name, description)
    _tell(made, f"workspace {made['name']} is made", as_json=as_json)


@workspace.command(name="describe")
@click.argument("name")
@click.argument("description")
@data_option
@json_option
def describe_workspace(name: str, description: str, data: str | None, *, as_json: bool) -> None:
    """Say what a workspace is for."""
    with platform_client(data) as client:
        changed = client.filing.describe_workspace(_workspace_id(client, name), description)
    _tell(changed, f"workspace {changed['name']}: {changed['description']}", as_json=as_json)


def _file_workspace(verb: str, text: str, *, archived: bool) -> click.Command:
    @click.command(name=verb, help=text)
    @click.argument("name")
    @data_option
    @json_option
    def command(name: str, data: str | None, *, as_json: bool) -> None:
        with platform_client(data) as client:
            changed = client.filing.archive_workspace(_workspace_id(client, name), archived=archived)
        _tell(changed, f"workspace {changed['name']} is {'archived' if archived else 'open'}", as_json=as_json)

    return command


@click.group()
def project() -> None:
    """Manage the projects of a workspace."""


@project.command(name="ls")
@click.argument("workspace_name", metavar="WORKSPACE")
@data_option
@json_option
def list_projects(workspace_name: str, data: str | None, *, as_json: bool) -> None:
    """List a workspace's projects."""
    with platform_client(data) as client:
        found = list(client.filing.projects(_workspace_id(client, workspace_name)))
    if as_json:
        print_json(found)
        return
    columns = ("PROJECT", "STATE", "EXPERIMENTS", "MADE BY", "MADE", "DESCRIPTION")
    print_table(columns, (_project_row(one) for one in found))


@project.command(name="create")
@click.argument("workspace_name", metavar="WORKSPACE")
@click.argument("name")
@description_option
@data_option
@json_option
def create_project(workspace_name: str, name: str, description: str, data: str | None, *, as_json: bool) -> None:
    """Make a project in a workspace; experiment files name it in `project`."""
    with platform_client(data) as client:
        made = client.filing.create_project(_workspace_id(client, workspace_name), name, description)
    _tell(made, f"project {made['name']} is made in {made['workspace']}", as_json=as_json)


@project.command(name="describe")
@click.argument("workspace_name", metavar="WORKSPACE")
@click.argument("name")
@click.argument("description")
@data_option
@json_option
def describe_project(workspace_name: str, name: str, description: str, data: str | None, *, as_json: bool) -> None:
    """Say what a project is for."""
    with platform_client(data) as client:
        changed = client.filing.describe_project(_project_id(client, workspace_name, name), description)
    _tell(changed, f"project {changed['name']}: {changed['description']}", as_json=as_json)


def _file_project(verb: str, text: str, *, archived: bool) -> click.Command:
    @click.command(name=verb, help=text)
    @click.argument("workspace_name", metavar="WORKSPACE")
    @click.argument("name")
    @data_option
    @json_option
    def command(workspace_name: str, name: str, data: str | None, *, as_json: bool) -> None:
        with platform_client(data) as client:
            found = _project_id(client, workspace_name, name)
            changed = client.filing.archive_project(found, archived=archived)
        _tell(changed, f"project {changed['name']} is {'archived' if archived else 'open'}", as_json=as_json)

    return command


_CLOSE, _OPEN = "so that nothing is submitted or moved into it any more.", "that was archived."
workspace.add_command(_file_workspace("archive", f"Close a workspace, {_CLOSE}", archived=True))
workspace.add_command(_file_workspace("unarchive", f"Open a workspace again {_OPEN}", archived=False))
project.add_command(_file_project("archive", f"Close a project, {_CLOSE}", archived=True))
project.add_command(_file_project("unarchive", f"Open a project again {_OPEN}", archived=False))


def _tell(place: Workspace | Project, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(place)
    else:
        click.echo(text)


def _workspace_id(client: Client, name: str) -> str:
    found = next((one["id"] for one in client.filing.workspaces() if one["name"] == name), None)
    if found is None:
        raise click.ClickException(f"there is no workspace {name} that is open to you; see: tm workspace ls")
    return found


def _project_id(client: Client, workspace_name: str, name: str) -> str:
    projects = client.filing.projects(_workspace_id(client, workspace_name))
    found = next((one["id"] for one in projects if one["name"] == name), None)
    if found is None:
        raise click.ClickException(
            f"there is no project {name} in {workspace_name}; see: tm project ls {workspace_name}"
        )
    return found


def _workspace_row(one: Workspace) -> tuple[object, ...]:
    counts = (one["projects"], one["experiments"])
    return (one["name"], _state(one), *counts, one["created_by"], clock(one["created_at"]), one["description"] or None)


def _project_row(one: Project) -> tuple[object, ...]:
    made = (one["created_by"], clock(one["created_at"]))
    return (one["name"], _state(one), one["experiments"], *made, one["description"] or None)


def _state(one: Workspace | Project) -> str:
    return "ARCHIVED" if one["archived"] else "OPEN"
