"""tm submit."""

from pathlib import Path

import click

from shared.config import parse_experiment
from trainmaster.cli.experiments import print_experiment
from trainmaster.cli.follow import follow
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--code", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Code folder (the file's).")
@click.option("--follow", "follows", is_flag=True, help="Show its progress until it ends.")
@data_option
@json_option
def submit(file: Path, code: Path | None, data: str | None, *, follows: bool, as_json: bool) -> None:
    """Submit an experiment file with its code directory."""
    parse_experiment(file.read_text(errors="replace"))  # tells its mistakes even without a platform
    with platform_client(data) as client:
        experiment = client.submit(file, code or file.absolute().parent)
        if follows:
            experiment = follow(client, experiment["id"])
        if as_json:
            print_json(experiment)
        elif follows:
            print_experiment(experiment, list(client.trials(experiment["id"])))
        else:
            click.echo(f"experiment {experiment['id']} is submitted. Follow it: tm show {experiment['id']}")
    if follows and experiment["state"] != "COMPLETED":
        raise click.ClickException(f"experiment {experiment['id']} ended {experiment['state']}: {experiment['reason']}")
