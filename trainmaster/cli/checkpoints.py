"""tm checkpoint ls, download, rm."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import click

from trainmaster.cli.moments import as_of_option
from trainmaster.cli.options import checkpoint_id, data_option, experiment_id, json_option, platform_client, trial_id
from trainmaster.cli.output import clock, print_json, print_table, size
from trainmaster.cli.transfer import receiving
from trainmaster.client import Client
from trainmaster.client.shapes import Checkpoint, File


@click.group()
def checkpoint() -> None:
    """List, download and delete checkpoints."""


@checkpoint.command()
@click.argument("id_", metavar="EXPERIMENT|TRIAL")
@as_of_option
@data_option
@json_option
def ls(id_: str, data: str | None, as_of: str | int | None, *, as_json: bool) -> None:
    """List the checkpoints of an experiment or of a trial."""
    with platform_client(data, as_of) as client:
        if "-" in id_:
            found = client.checkpoints(trial_id=trial_id(client, id_))
        else:
            found = client.checkpoints(experiment_id=experiment_id(client, id_))
    if as_json:
        print_json(found)
        return
    columns = ("CHECKPOINT", "TRIAL", "STEP", "SIZE", "FILES", "SAVED", "STATE")
    print_table(columns, (_row(checkpoint) for checkpoint in found))


@checkpoint.command()
@click.argument("id_", metavar="CHECKPOINT")
@click.option("--to", type=click.Path(path_type=Path), help="Target folder (its id).")
@click.option("--force", is_flag=True, help="Also into a folder that holds something; files of the same name go.")
@data_option
@json_option
def download(id_: str, to: Path | None, data: str | None, *, force: bool, as_json: bool) -> None:
    """Download a checkpoint; every file is checked against its SHA-256."""
    with platform_client(data) as client:
        found = client.checkpoint(checkpoint_id(client, id_))
        target = to or Path(found["id"])
        claim(target, force=force)
        with receiving(found["id"], found["size_bytes"]) as received:
            for file in found["files"]:
                for num_bytes in _fetch(client, found["id"], file, target):
                    received(num_bytes)
    if as_json:
        print_json({"checkpoint": found["id"], "directory": str(target), "files": len(found["files"])})
    else:
        click.echo(f"{len(found['files'])} files, {size(found['size_bytes'])}, checked: {target}")


@checkpoint.command()
@click.argument("ids", metavar="CHECKPOINT", nargs=-1, required=True)
@data_option
@json_option
def rm(ids: tuple[str, ...], data: str | None, *, as_json: bool) -> None:
    """Delete checkpoints. One that an open trial would resume from is refused."""
    with platform_client(data) as client:
        found = [client.delete_checkpoint(checkpoint_id(client, id_)) for id_ in ids]
    if as_json:
        print_json(found)
        return
    for deleted in found:
        click.echo(f"{deleted['id']} is {deleted['state']}")


def claim(target: Path, *, force: bool) -> None:
    """Make the target folder. Refuses one that holds something, unless forced, and one that cannot be written."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        is_empty = next(target.iterdir(), None) is None
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}; choose another --to") from error
    if not os.access(target, os.W_OK | os.X_OK):
        raise click.ClickException(f"{target} cannot be written: permission denied; choose another --to")
    if not is_empty and not force:
        raise click.ClickException(f"{target} is not empty; choose another --to, or --force to write into it")


def _row(checkpoint: Checkpoint) -> tuple[object, ...]:
    amount = (checkpoint["step"], size(checkpoint["size_bytes"]), len(checkpoint["files"]))
    return (checkpoint["id"], checkpoint["trial_id"], *amount, clock(checkpoint["saved_at"]), checkpoint["state"])


def _fetch(client: Client, checkpoint_id: str, file: File, target: Path) -> Iterator[int]:
    """Write one file, yielding how many bytes came; a file that is not whole never gets its name."""
    path = target / file["path"]
    if not path.resolve().is_relative_to(target.resolve()):
        raise click.ClickException(f"the checkpoint names a file outside of it: {file['path']}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    digest = hashlib.sha256()
    with partial.open("wb") as output:
        for chunk in client.checkpoint_file(checkpoint_id, file["path"]):
            output.write(chunk)
            digest.update(chunk)
            yield len(chunk)
    if digest.hexdigest() != file["sha256"]:
        raise click.ClickException(
            f"{file['path']} arrived damaged: its SHA-256 is not the recorded one. Download again."
        )
    partial.replace(path)
