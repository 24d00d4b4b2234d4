"""Options that several commands share, and the client they talk through."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from trainmaster.client import ApiError, Client, NoPlatform, Unreachable, find_url

F = TypeVar("F", bound=Callable[..., Any])


def data_option(command: F) -> F:
    """Add --data: which data directory's platform is meant."""
    add = click.option("--data", metavar="DIR", help="The platform's data directory (TM_DATA, ~/.trainmaster).")
    return add(command)


def json_option(command: F) -> F:
    """Add --json as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextlib.contextmanager
def platform_client(data: str | None) -> Iterator[Client]:
    """A client of the platform that is meant; what it raises becomes a message and exit code 1."""
    try:
        with Client(find_url(data)) as client:
            yield client
    except (ApiError, NoPlatform, Unreachable) as error:
        raise click.ClickException(str(error)) from error


def experiment_id(client: Client, prefix: str) -> str:
    """Return the id of the one experiment whose id begins so."""
    found = [experiment["id"] for experiment in client.experiments() if experiment["id"].startswith(prefix)]
    if prefix in found or not found:
        return prefix
    if len(found) > 1:
        raise click.ClickException(f"{prefix} could be {', '.join(found[:5])}; write more of it")
    return found[0]


def any_id(client: Client, prefix: str) -> str:
    """Return a trial's or checkpoint's id, its experiment's part made whole."""
    experiment, dash, rest = prefix.partition("-")
    return experiment_id(client, experiment) + dash + rest
