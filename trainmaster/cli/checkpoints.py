"""tm checkpoint ls, download."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from trainmaster.cli.options import any_id, data_option, experiment_id, json_option, platform_client
from trainmaster.cli.output import clock, console, print_json, print_table, size
from trainmaster.client import Client
from trainmaster.client.shapes import Checkpoint, CheckpointFile


@click.group()
def checkpoint() -> None:
    """List and download checkpoints."""


@checkpoint.command()
@click.argument("id_", metavar="EXPERIMENT|TRIAL")
@data_option
@json_option
def ls(id_: str, data: str | None, *, as_json: bool) -> None:
    """List the checkpoints of an experiment or of a trial."""
    with platform_client(data) as client:
        if "-" in id_:
            found = client.checkpoints(trial_id=any_id(client, id_))
        else:
            found = client.checkpoints(experiment_id=experiment_id(client, id_))
    if as_json:
        print_json(found)
        return
    columns = ("CHECKPOINT", "TRIAL", "STEP", "SIZE", "FILES", "SAVED")
    print_table(columns, (_row(checkpoint) for checkpoint in found))


@checkpoint.command()
@click.argument("id_", metavar="CHECKPOINT")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Target folder (its id).")
@data_option
@json_option
def download(id_: str, to: Path | None, data: str | None, *, as_json: bool) -> None:
    """Download a checkpoint; every file is checked against its SHA-256."""
    with platform_client(data) as client:
        found = client.checkpoint(any_id(client, id_))
        target = to or Path(found["id"])
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console(stderr=True), transient=True) as progress:
            bar = progress.add_task(found["id"], total=found["size_bytes"])
            for file in found["files"]:
                for num_bytes in _fetch(client, found["id"], file, target):
                    progress.advance(bar, num_bytes)
    if as_json:
        print_json({"checkpoint": found["id"], "directory": str(target), "files": len(found["files"])})
    else:
        click.echo(f"{len(found['files'])} files, {size(found['size_bytes'])}, checked: {target}")


def _row(checkpoint: Checkpoint) -> tuple[object, ...]:
    amount = (checkpoint["step"], size(checkpoint["size_bytes"]), len(checkpoint["files"]))
    return (checkpoint["id"], checkpoint["trial_id"], *amount, clock(checkpoint["saved_at"]))


def _fetch(client: Client, checkpoint_id: str, file: CheckpointFile, target: Path) -> Iterator[int]:
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
