"""tm submit."""

from pathlib import Path

import click

from trainmaster.cli.experiments import print_experiment, warn_of_silence
from trainmaster.cli.follow import follow
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json
from trainmaster.cli.transfer import sending
from trainmaster.cli.validate import check
from trainmaster.client.hints import command
from trainmaster.client.shapes import Experiment


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--code", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Code folder (the file's).")
@click.option("--follow", "follows", is_flag=True, help="Show its progress until it ends.")
@data_option
@json_option
def submit(file: Path, code: Path | None, data: str | None, *, follows: bool, as_json: bool) -> None:
    """Submit an experiment file with its code directory."""
    check(file)  # tells its mistakes even without a platform
    with platform_client(data) as client:
        with sending("code") as on_sent:
            submitted = client.submit(file, code or file.absolute().parent, on_sent=on_sent)
        ended = follow(client, submitted["id"]) if follows else None
        if as_json:
            print_json(ended or submitted)
        elif ended:
            print_experiment(ended, list(client.trials(ended["id"])))
            warn_of_silence(client, ended)
        else:
            _tell(submitted, client.url, data)
    if ended and ended["state"] != "COMPLETED":
        raise click.ClickException(f"experiment {ended['id']} ended {ended['state']}: {ended['reason']}")


def _tell(experiment: Experiment, url: str, data: str | None) -> None:
    id_ = experiment["id"]
    click.echo(f"experiment {id_} is submitted: {url}/#/experiments/{id_}")
    places = [
        (command(f"open {id_}", data), "its page in a browser, logged in"),
        (command("ls", data), "how far all experiments are"),
        (command(f"show {id_}", data), "its trials now"),
        (command(f"logs -f {id_}-1", data), "what its first trial writes"),
        (command(f"tap --experiment {id_}", data), "its events as they happen"),
    ]
    width = max(len(place) for place, _ in places)
    for place, what in places:
        click.echo(f"  {place:<{width}}  {what}")
    click.echo("submit --follow shows a search until it ends")
