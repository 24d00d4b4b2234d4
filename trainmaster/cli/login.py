"""tm login, logout, whoami, open."""

import os
import webbrowser
from http import HTTPStatus

import click

from trainmaster.cli.options import data_option, experiment_id, json_option, platform_client, trial_id
from trainmaster.cli.output import print_json
from trainmaster.client import ApiError, Client, Unreachable, logins
from trainmaster.client.access import log_in

DAYS = 90


@click.command()
@click.argument("url", envvar="TM_URL")
@click.option("--user", help="Who you are there; asked for if it is not given.")
@click.option("--password", envvar="TM_PASSWORD", help="Better left to be asked, or in TM_PASSWORD.")
@click.option("--days", type=click.IntRange(1, 3650), default=DAYS, show_default=True, help="How long it lasts.")
@json_option
def login(url: str, user: str | None, password: str | None, days: int, *, as_json: bool) -> None:
    """Log in at the platform at URL; the commands find the token where TM_URL says the same."""
    user = user or click.prompt("User", err=True)
    password = password or click.prompt("Password", hide_input=True, err=True)
    try:
        logins.write(url, log_in(url, user, password, days=days))
        with Client(url, logins.read(url)) as client:
            session = client.access.session()
    except (ApiError, Unreachable) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({"url": url, "kept_in": str(logins.path()), "session": session})
        return
    click.echo(f"logged in as {user} for {days} days, kept in {logins.path()}")
    if os.environ.get("TM_URL", "").rstrip("/") != url.rstrip("/"):
        click.echo(f"now: export TM_URL={url}")


@click.command()
@click.argument("url", envvar="TM_URL")
@json_option
def logout(url: str, *, as_json: bool) -> None:
    """End the login at the platform at URL, and forget it."""
    token = logins.read(url)
    if token is None:
        raise click.ClickException(f"nobody is logged in at {url}")
    try:
        with Client(url, token) as client:
            client.access.log_out()
    except Unreachable as error:
        raise click.ClickException(f"{error}; the login is kept, as it could not be ended") from error
    except ApiError as error:
        if error.status != HTTPStatus.UNAUTHORIZED:  # it is over already
            raise click.ClickException(str(error)) from error
    logins.write(url, None)
    if as_json:
        print_json({"url": url})
    else:
        click.echo(f"logged out of {url}")


@click.command()
@data_option
@json_option
def whoami(data: str | None, *, as_json: bool) -> None:
    """Show who you are to the platform, and what you may do."""
    with platform_client(data) as client:
        session = client.access.session()
    if as_json:
        print_json(session)
        return
    click.echo(f"{session['user_id']} ({session['full_name']})")
    for granted in session["grants"]:
        click.echo(f"  {granted['role']} {where(granted['workspace'])}")
    if not session["grants"]:
        click.echo("  no role yet: an administrator gives one")


@click.command(name="open")
@click.argument("id_", metavar="[EXPERIMENT|TRIAL]", required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the address instead of opening a browser.")
@data_option
@json_option
def open_(id_: str | None, data: str | None, *, only_print: bool, as_json: bool) -> None:
    """Open the page in a browser, logged in as you: the address works once, for ten minutes."""
    with platform_client(data) as client:
        if id_ is None:
            address = login_address(client)
        elif "-" in id_:
            address = login_address(client, "trials", trial_id(client, id_))
        else:
            address = login_address(client, "experiments", experiment_id(client, id_))
    opened = not only_print and webbrowser.open(address)
    if as_json:
        print_json({"url": address, "opened": opened})
    elif not opened:
        click.echo(address)


def login_address(client: Client, *target: str) -> str:
    """Return an address of the page that logs a browser in, once, and shows the target."""
    return "/".join([client.url, "#", "login", client.access.login_code()["code"], *target])


def where(workspace: str | None) -> str:
    """Return a workspace in words."""
    return "everywhere" if workspace is None else f"in workspace {workspace or 'default'}"
