"""tm up, down."""

import asyncio
import logging
from typing import TYPE_CHECKING

import click

from trainmaster.cli.options import data_option, json_option
from trainmaster.cli.output import print_json
from trainmaster.cli.slots import Slots
from trainmaster.client.hints import command
from trainmaster.embedded.directory import AlreadyRunning, DataDirectory

if TYPE_CHECKING:
    from trainmaster.embedded.supervisor import Plan

slots_option = click.option(
    "--slots",
    type=Slots(),
    multiple=True,
    default=("auto",),
    metavar="SLOTS",
    show_default=True,
    help="What this machine offers: cuda, cpu:N, or auto. Given twice: two agents.",
)


@click.command()
@slots_option
@click.option("--detach", is_flag=True, help="Return when the platform is ready, and leave it running.")
@data_option
@json_option
def up(slots: tuple[str, ...], data: str | None, *, detach: bool, as_json: bool) -> None:
    """Start the platform: NATS, PostgreSQL, an S3 server, the services and the page."""
    directory = DataDirectory.named(data)
    if (cluster := directory.cluster()) is not None:
        raise click.ClickException(f"the platform is already up at {cluster['url']} (data in {directory.path})")

    # They bring the clients of all servers along, which no other command needs.
    from trainmaster.embedded.background import start_detached
    from trainmaster.embedded.supervisor import NotReady, Plan

    plan = Plan(directory=directory, slots=slots)
    try:
        if detach:
            _tell(start_detached(plan), directory, as_json=as_json)
        else:
            _stay(plan, as_json=as_json)
    except AlreadyRunning as error:
        raise click.ClickException(
            f"another {command('up')} holds {error}; it is starting or stopping just now"
        ) from error
    except NotReady as error:
        raise click.ClickException(str(error)) from error


@click.command()
@data_option
@json_option
def down(data: str | None, *, as_json: bool) -> None:
    """Stop the platform: trials checkpoint first, then everything ends in order."""
    from trainmaster.embedded.background import stop_detached  # see up

    directory = DataDirectory.named(data)
    try:
        stopped = stop_detached(directory)
    except TimeoutError as error:
        raise click.ClickException(f"{error}; see {directory.log_file('supervisor')}") from error
    if as_json:
        print_json({"data": str(directory.path), "stopped": stopped})
    else:
        click.echo(f"the platform in {directory.path} is down" if stopped else f"no platform runs in {directory.path}")


def _stay(plan: "Plan", *, as_json: bool) -> None:
    from trainmaster.embedded.foreground import serve  # see up

    logging.basicConfig(level=logging.WARNING, format="tm: %(message)s")
    asyncio.run(
        serve(
            plan,
            lambda url: _tell(url, plan.directory, as_json=as_json, stays=True),
            lambda: click.echo("stopping; running trials checkpoint first (again: at once)", err=True),
        )
    )


def _tell(url: str, directory: DataDirectory, *, as_json: bool, stays: bool = False) -> None:
    if as_json:
        print_json({"url": url, "data": str(directory.path)})
        return
    click.echo(f"Trainmaster is up: {url}  (data in {directory.path})")
    if stays:
        data = str(directory.path)
        click.echo(f"Ctrl-C stops it. In another terminal: {command('submit FILE', data)}, {command('open', data)}")
