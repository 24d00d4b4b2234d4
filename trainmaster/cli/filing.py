"""tm archive, unarchive, delete, label, note, fork."""

import json
import sys
from http import HTTPStatus
from typing import Any

import click

from trainmaster.cli.options import checkpoint_id, data_option, experiment_id, json_option, platform_client, trial_id
from trainmaster.cli.output import print_json
from trainmaster.client.shapes import Outcome

DONE = {
    "archive": "archived",
    "unarchive": "taken out of the archive",
    "delete": "being deleted",
    "label": "labelled",
    "move": "moved",
}

ids_argument = click.argument("experiments", metavar="EXPERIMENT...", nargs=-1, required=True)


def ask_many(action: str, given: tuple[str, ...], data: str | None, *, as_json: bool, **more: object) -> None:
    """Ask the same of many experiments and tell what became of each; exit code 1 if one was refused."""
    with platform_client(data) as client:
        outcomes = client.filing.ask_many(action, [experiment_id(client, one) for one in given], **more)
    if as_json:
        print_json(outcomes)
    else:
        for outcome in outcomes:
            _tell(action, outcome)
    if any(outcome["status"] != HTTPStatus.OK for outcome in outcomes):
        sys.exit(1)


def _tell(action: str, outcome: Outcome) -> None:
    is_done = outcome["status"] == HTTPStatus.OK
    click.echo(f"{outcome['id']} is {DONE[action]}" if is_done else outcome["detail"], err=not is_done)


@click.command()
@ids_argument
@data_option
@json_option
def archive(experiments: tuple[str, ...], data: str | None, *, as_json: bool) -> None:
    """Put experiments that are over out of the lists; nothing of them is lost."""
    ask_many("archive", experiments, data, as_json=as_json)


@click.command()
@ids_argument
@data_option
@json_option
def unarchive(experiments: tuple[str, ...], data: str | None, *, as_json: bool) -> None:
    """Put archived experiments back into the lists."""
    ask_many("unarchive", experiments, data, as_json=as_json)


@click.command()
@ids_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_option
@json_option
def delete(experiments: tuple[str, ...], data: str | None, *, yes: bool, as_json: bool) -> None:
    """Delete experiments that are over, with all their checkpoints; what they did stays on the log."""
    if not yes:
        click.confirm(f"Delete {', '.join(experiments)} with all checkpoints?", abort=True, err=True)
    ask_many("delete", experiments, data, as_json=as_json)


@click.command()
@ids_argument
@click.option("--add", multiple=True, metavar="LABEL", help="Add a label; may be given more than once.")
@click.option("--remove", multiple=True, metavar="LABEL", help="Take a label away.")
@data_option
@json_option
def label(
    experiments: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    data: str | None,
    *,
    as_json: bool,
) -> None:
    """Add labels to experiments, or take them away."""
    if not add and not remove:
        raise click.UsageError("give --add LABEL, --remove LABEL, or both")
    ask_many("label", experiments, data, as_json=as_json, add=list(add), remove=list(remove))


@click.command()
@click.argument("experiment")
@click.argument("text", required=False)
@click.option("--name", help="Another name for the experiment.")
@click.option("--description", help="Another description.")
@data_option
@json_option
def note(
    experiment: str, text: str | None, name: str | None, description: str | None, data: str | None, *, as_json: bool
) -> None:
    """Write notes on an experiment in place of the present ones; without TEXT, an editor opens them.

    With --name or --description these change, and the notes stay unless TEXT is given.
    """
    with platform_client(data) as client:
        whole = experiment_id(client, experiment)
        if text is None and name is None and description is None:
            text = click.edit(client.experiment(whole)["notes"])
            if text is None:
                raise click.ClickException("nothing was written; the notes are as they were")
        changes = {"name": name, "description": description, "notes": text}
        changed = client.filing.describe(whole, **{key: value for key, value in changes.items() if value is not None})
    if as_json:
        print_json(changed)
    else:
        click.echo(f"{changed['id']} “{changed['name']}” is described anew")


@click.command()
@click.argument("id_", metavar="EXPERIMENT|TRIAL")
@click.option("--checkpoint", metavar="ID", help="All trials start from this checkpoint.")
@click.option("--name", help="What the fork is called.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change the file: searcher.max_trials=8 (a JSON value).",
)
@data_option
@json_option
def fork(
    id_: str,
    checkpoint: str | None,
    name: str | None,
    changes: tuple[str, ...],
    data: str | None,
    *,
    as_json: bool,
) -> None:
    """Submit an experiment's file and code again with changes, perhaps from a checkpoint; of a TRIAL, train that one on
    from its newest checkpoint, for max_length more."""
    given = dict(_change(change) for change in changes)
    with platform_client(data) as client:
        is_trial = "-" in id_
        made = client.filing.fork(
            experiment_id(client, id_.partition("-")[0]),
            name=name,
            checkpoint=None if checkpoint is None else checkpoint_id(client, checkpoint),
            trial=trial_id(client, id_) if is_trial else None,
            changes=given,
        )
    if as_json:
        print_json(made)
    else:
        click.echo(made["id"])


def _change(text: str) -> tuple[str, Any]:
    """Return the path and the value of PATH=VALUE; a value that is no JSON is text."""
    path, is_there, value = text.partition("=")
    if not path or not is_there:
        raise click.BadParameter(f"{text!r} is not PATH=VALUE, such as searcher.max_trials=8", param_hint="--set")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value
