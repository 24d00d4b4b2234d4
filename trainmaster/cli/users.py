"""tm user, tm token."""

import click

from trainmaster.cli.login import where
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import clock, print_json, print_table
from trainmaster.client.shapes import TokenView, UserView

ROLES = ("viewer", "editor", "operator", "admin")

role_argument = click.argument("role", type=click.Choice(ROLES))
workspace_option = click.option("--workspace", help="In this workspace only; without it, everywhere.")


@click.group()
def user() -> None:
    """Manage users and their roles (administrators)."""


@user.command(name="ls")
@data_option
@json_option
def list_users(data: str | None, *, as_json: bool) -> None:
    """List the users."""
    with platform_client(data) as client:
        found = client.access.users()
    if as_json:
        print_json(found)
        return
    print_table(("USER", "NAME", "KIND", "STATE", "ROLES"), (_row(one) for one in found))


@user.command()
@click.argument("name")
@click.option("--full-name", default="", help="What people call the user.")
@click.option("--service", "is_service", is_flag=True, help="A program's account: tokens, and no password.")
@click.option("--role", type=click.Choice(ROLES), help="What the user may do.")
@workspace_option
@data_option
@json_option
def create(
    name: str, full_name: str, role: str | None, workspace: str | None, data: str | None, *, is_service: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Make a user known, with a role and (asked for) a password."""
    password = None if is_service else click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    with platform_client(data) as client:
        made = client.access.create_user(name, full_name=full_name, is_service=is_service)
        if password is not None:
            made = client.access.set_password(name, password)
        if role is not None:
            made = client.access.grant(name, role, workspace)
    _tell(made, as_json=as_json)


@user.command()
@click.argument("name")
@data_option
@json_option
def password(name: str, data: str | None, *, as_json: bool) -> None:
    """Set a user's password (asked for); with your own name, an administrator's is not needed."""
    with platform_client(data) as client:
        if client.access.session()["user_id"] == name:
            old = click.prompt("Present password", hide_input=True, err=True)
            changed = client.access.change_password(old, _new_password())
            if as_json:
                print_json(changed)
            else:
                click.echo("your password is changed")
        else:
            _tell(client.access.set_password(name, _new_password()), as_json=as_json)


@user.command()
@click.argument("name")
@data_option
@json_option
def disable(name: str, data: str | None, *, as_json: bool) -> None:
    """Keep a user out at once, with all tokens."""
    with platform_client(data) as client:
        _tell(client.access.enable_user(name, enabled=False), as_json=as_json)


@user.command()
@click.argument("name")
@data_option
@json_option
def enable(name: str, data: str | None, *, as_json: bool) -> None:
    """Let a disabled user in again."""
    with platform_client(data) as client:
        _tell(client.access.enable_user(name, enabled=True), as_json=as_json)


@user.command()
@click.argument("name")
@role_argument
@workspace_option
@data_option
@json_option
def grant(name: str, role: str, workspace: str | None, data: str | None, *, as_json: bool) -> None:
    """Give a user a role, in place of the one there."""
    with platform_client(data) as client:
        _tell(client.access.grant(name, role, workspace), as_json=as_json)


@user.command()
@click.argument("name")
@workspace_option
@data_option
@json_option
def revoke(name: str, workspace: str | None, data: str | None, *, as_json: bool) -> None:
    """Take a user's role away."""
    with platform_client(data) as client:
        _tell(client.access.revoke(name, workspace), as_json=as_json)


@click.group()
def token() -> None:
    """Manage tokens of programs."""


@token.command(name="ls")
@data_option
@json_option
def list_tokens(data: str | None, *, as_json: bool) -> None:
    """List your tokens; an administrator sees everybody's."""
    with platform_client(data) as client:
        found = client.access.tokens()
    if as_json:
        print_json(found)
        return
    print_table(("TOKEN", "USER", "LABEL", "AT MOST", "ISSUED", "EXPIRES"), (_token_row(one) for one in found))


@token.command(name="create")
@click.argument("label")
@click.option("--role", type=click.Choice(ROLES), default="editor", show_default=True, help="What it allows at most.")
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it lasts.")
@click.option("--user", "of", help="For this service account (administrators).")
@data_option
@json_option
def create_token(label: str, role: str, days: int, of: str | None, data: str | None, *, as_json: bool) -> None:
    """Issue a token; it is shown this once. Programs give it as TM_TOKEN or `Authorization: Bearer`."""
    with platform_client(data) as client:
        made = client.access.new_token(label, role=role, days=days, user=of)
    if as_json:
        print_json(made)
    else:
        click.echo(made["token"])


@token.command(name="revoke")
@click.argument("token_id", metavar="TOKEN")
@data_option
@json_option
def revoke_token(token_id: str, data: str | None, *, as_json: bool) -> None:
    """End a token at once."""
    with platform_client(data) as client:
        gone = client.access.revoke_token(token_id)
    if as_json:
        print_json(gone)
    else:
        click.echo(f"token {token_id} opens nothing any more")


def _new_password() -> str:
    text: str = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    return text


def _tell(one: UserView, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
    else:
        print_table(("USER", "NAME", "KIND", "STATE", "ROLES"), [_row(one)])


def _row(one: UserView) -> tuple[str, ...]:
    roles = ", ".join(f"{granted['role']} {where(granted['workspace'])}" for granted in one["grants"])
    kind, state = "service" if one["is_service"] else "person", "enabled" if one["enabled"] else "disabled"
    return one["user_id"], one["full_name"], kind, state, roles or "none"


def _token_row(one: TokenView) -> tuple[str | None, ...]:
    return one["token_id"], one["user_id"], one["label"], one["role"], clock(one["issued_at"]), clock(one["expires_at"])
