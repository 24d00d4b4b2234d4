"""tm agent: this machine as an agent of a platform elsewhere."""

import os
import socket
import sys
from pathlib import Path

import click

from trainmaster.cli.options import json_option
from trainmaster.cli.output import print_json
from trainmaster.client import ApiError, Unreachable
from trainmaster.client.hints import command
from trainmaster.client.joining import NotThePlatform, agent_environment, join, keep, own_address

DIRECTORY = "~/.trainmaster-agent"

directory_option = click.option(
    "--directory", default=DIRECTORY, show_default=True, help="Where the agent keeps its settings and its work."
)


@click.group()
def agent() -> None:
    """Have this machine be an agent of a platform elsewhere."""


@agent.command(name="join")
@click.argument("url")
@click.argument("token")
@click.option("--slots", default="auto", show_default=True, help="What it offers: auto, cuda or cpu:N.")
@click.option("--pool", default="default", show_default=True, help="The resource pool that it is part of.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Such as switch=s1; may be repeated.")
@click.option("--address", help="Where other agents of a gang find this machine; else the way to the platform says.")
@directory_option
@click.option("--run/--no-run", "is_run", default=True, show_default=True, help="Run the agent at once.")
@json_option
def join_(  # noqa: PLR0913 # one for each option
    url: str, token: str, slots: str, pool: str, labels: tuple[str, ...], address: str | None, directory: str, *,
    is_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Join the platform at URL with the TOKEN of `tm agents invite`, and run the agent."""
    place = Path(directory).expanduser().absolute()
    try:
        joined = join(url, token, socket.getfqdn()[:253])
    except (ApiError, Unreachable, NotThePlatform) as error:
        raise click.ClickException(str(error)) from error
    chosen = {"TM_SLOTS": slots, "TM_POOL": pool, "TM_AGENT_LABELS": " ".join(labels)}
    keep(place, joined, chosen | {"TM_AGENT_ADDRESS": address or own_address(url)})
    again = command("agent run" if directory == DIRECTORY else f"agent run --directory {directory}")
    if as_json:
        print_json({"agent_id": joined["agent_id"], "directory": str(place)})
    else:
        click.echo(f"joined {url} as agent {joined['agent_id']}; later: {again}", err=is_run)
    if is_run:
        _run(place)


@agent.command()
@directory_option
def run(directory: str) -> None:
    """Run the agent that this machine has joined as, until SIGTERM; deploy/systemd has a unit for it."""
    _run(Path(directory).expanduser().absolute())


def _run(directory: Path) -> None:
    try:
        environment = agent_environment(directory)
    except FileNotFoundError as error:
        reason = f"this machine has not joined a platform ({error.filename} is missing)"
        raise click.ClickException(f"{reason}; first: {command('agent join URL TOKEN')}") from error
    argv = (sys.executable, "-P", "-m", "services.worker")
    os.execve(sys.executable, argv, os.environ | environment)  # noqa: S606 # it becomes the agent
