"""tm validate: an experiment file checked on this machine, without a platform."""

from pathlib import Path

import click

from shared.config import Experiment, notes_on, parse_experiment
from shared.errors import Rejected
from trainmaster.cli.options import json_option
from trainmaster.cli.output import print_json


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def validate(file: Path, *, as_json: bool) -> None:
    """Check an experiment file; names every mistake with its path."""
    experiment = check(file, as_json=as_json)
    if as_json:
        print_json({"valid": True, "config": experiment.model_dump(mode="json")})
    else:
        click.echo(f"{file} is valid")


def check(file: Path, *, as_json: bool = False) -> Experiment:
    """Return the experiment in a file; one with mistakes ends the command with a list of them."""
    text = file.read_text(errors="replace")
    try:
        parsed = parse_experiment(text)
        for note in notes_on(text):
            click.echo(f"{file}: {note}", err=True)
        return parsed
    except Rejected as error:
        if as_json:
            found = [{"path": p.path, "message": p.message, "suggestion": p.suggestion} for p in error.problems]
            print_json({"valid": False, "title": error.title, "errors": found})
        else:
            click.echo("\n".join([f"{file}: {error.title}", *(f"  {problem}" for problem in error.problems)]), err=True)
        raise SystemExit(1) from error
