"""Options that several commands share, and the client they talk through."""

import contextlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, TypeVar

import click

from trainmaster.client import ApiError, Client, NoPlatform, Unreachable, find_platform
from trainmaster.client.hints import command

F = TypeVar("F", bound=Callable[..., Any])


def data_option(command: F) -> F:
    """Add --data: which data directory's platform is meant."""
    add = click.option("--data", metavar="DIR", help="The platform's data directory (TM_DATA, ~/.trainmaster).")
    return add(command)


def json_option(command: F) -> F:
    """Add --json as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextlib.contextmanager
def platform_client(data: str | None, as_of: str | int | None = None) -> Iterator[Client]:
    """A client of the platform that is meant; what it raises becomes a message and exit code 1.

    With `as_of` it reads as things were then, and stderr says after which event that is.
    """
    try:
        with Client(*find_platform(data), _tell_lost, as_of=as_of) as client:
            yield client
            if as_of is not None:
                click.echo(f"as of event {client.as_of_seq}", err=True)
    except Unreachable as error:
        raise click.ClickException(f"{error}. Is it up? See: {command('status', data)}") from error
    except ApiError as error:
        hint = f". Log in with: {command('login')}" if error.status == HTTPStatus.UNAUTHORIZED else ""
        raise click.ClickException(f"{error}{hint}") from error
    except NoPlatform as error:
        raise click.ClickException(str(error)) from error


def experiment_id(client: Client, prefix: str) -> str:
    """Return the id of the one experiment whose id begins so."""
    if "-" in prefix:
        whose = prefix.partition("-")[0]
        raise click.ClickException(f"{prefix} is not an experiment; it belongs to {whose}")
    found = [experiment["id"] for experiment in client.experiments(show="all") if experiment["id"].startswith(prefix)]
    if prefix in found or not found:
        return prefix
    if len(found) > 1:
        raise click.ClickException(f"{prefix} could be {', '.join(found[:5])}; write more of it")
    return found[0]


def _tell_lost() -> None:
    click.echo("connection lost; waiting for the platform", err=True)


def trial_id(client: Client, prefix: str) -> str:
    """Return a trial's id, its experiment's part made whole."""
    experiment, _, index = prefix.partition("-")
    if not index:
        raise click.ClickException(f"{prefix} is not a trial; write EXPERIMENT-NUMBER, such as {prefix}-1")
    if not index.isdecimal():
        raise click.ClickException(f"{prefix} is a checkpoint; its trial is {'-'.join(prefix.split('-')[:2])}")
    return f"{experiment_id(client, experiment)}-{index}"


def checkpoint_id(client: Client, prefix: str) -> str:
    """Return a checkpoint's id, its experiment's part made whole."""
    experiment, _, rest = prefix.partition("-")
    if "-" not in rest:
        kind = "a trial" if rest else "an experiment"
        hint = command(f"checkpoint ls {prefix}")
        raise click.ClickException(f"{prefix} is {kind}, not a checkpoint; its checkpoints: {hint}")
    return f"{experiment_id(client, experiment)}-{rest}"
