"""tm rebuild."""

import os
import subprocess
import sys

import click

from trainmaster.cli.options import data_option
from trainmaster.embedded.directory import DataDirectory


@click.command()
@data_option
def rebuild(data: str | None) -> None:
    """Empty the read model and have the tracker fold it again from the log."""
    environment = os.environ | ({} if "TM_POSTGRES_URL" in os.environ else _settings(DataDirectory.named(data)))
    if subprocess.run((sys.executable, "-P", "-m", "services.tracker", "rebuild"), env=environment).returncode != 0:
        raise click.ClickException("the read model could not be rebuilt; the reason is above")
    click.echo("the tracker folds the read model again; watch its lag in: tm status")


def _settings(directory: DataDirectory) -> dict[str, str]:
    """Return the tracker's settings in a platform on this machine."""
    if directory.cluster() is None:
        raise click.ClickException(f"no platform runs in {directory.path}. Start one with: tm up --detach")

    from trainmaster.embedded.credentials import ensure_credentials  # only this command needs it
    from trainmaster.embedded.services import service_programs

    credentials = ensure_credentials(directory.credentials_file, ())
    programs = service_programs(directory.ports(), credentials, directory.path / "state")
    return dict(next(program.env for program in programs if program.name == "tracker"))
