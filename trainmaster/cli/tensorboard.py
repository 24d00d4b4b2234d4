"""tm tensorboard: what trials reported as TensorBoard's files, kept fresh while they train; TensorBoard on them."""

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from trainmaster.cli.options import data_option, experiment_id, json_option, platform_client, trial_id
from trainmaster.cli.output import print_json
from trainmaster.client import Client
from trainmaster.client.client import Query
from trainmaster.client.shapes import Trial

if TYPE_CHECKING:
    from trainmaster.client.tfevents import Point, TrialFile

REFRESH_S = 5.0
INSTALL = "TensorBoard is not installed here. Install it, and repeat: pip install tensorboard"


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="EXPERIMENT|TRIAL…")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep the files here."
)
@click.option("--port", type=click.IntRange(0, 65535), default=6006, show_default=True, help="Of TensorBoard; 0: any.")
@click.option("--no-serve", is_flag=True, help="Only write the files that there are now; needs -o.")
@data_option
@json_option
def tensorboard(
    ids: tuple[str, ...], *, output: Path | None, port: int, no_serve: bool, data: str | None, as_json: bool
) -> None:
    """Look at experiments or trials with TensorBoard: scalars and hyperparameters.

    The files follow the trials as they train, until TensorBoard is ended with Ctrl-C.
    """
    if no_serve and output is None:
        raise click.UsageError("--no-serve needs -o DIR: where the files are to be")
    if importlib.util.find_spec("tensorboard") is None:
        raise click.ClickException(INSTALL)
    with contextlib.ExitStack() as stack:
        directory = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tm-tensorboard-")))
        client = stack.enter_context(platform_client(data))
        export = stack.enter_context(contextlib.closing(Export(client, _whole_ids(client, ids), directory)))
        num_points = export.refresh()
        if as_json:
            print_json({"directory": str(directory), "num_trials": export.num_trials, "num_points": num_points})
        else:
            click.echo(f"{num_points:,} points of {export.num_trials} trials in {directory}", err=True)
        if not no_serve:
            _serve(export, directory, port)


class Export:
    """The files of some experiments' or single trials' metrics, in one directory."""

    def __init__(self, client: Client, ids: list[str], directory: Path) -> None:
        self._client = client
        self._ids = ids
        self._directory = directory
        self._files: dict[str, TrialFile] = {}
        self._over: set[str] = set()

    @property
    def num_trials(self) -> int:
        """How many trials have a file."""
        return len(self._files)

    def refresh(self) -> int:
        """Write what is new; return how many points that is."""
        return sum(self._write(trial) for trial in self._trials() if trial["id"] not in self._over)

    def close(self) -> None:
        """Write all that was added and close the files."""
        for file in self._files.values():
            file.close()

    def _trials(self) -> Iterator[Trial]:
        for name in self._ids:
            if "-" in name:
                yield self._client.trial(name)
            else:
                yield from self._client.trials(name)

    def _write(self, trial: Trial) -> int:
        file = self._file(trial)
        epoch = file.epoch
        num_added = file.add(self._points(trial["id"], file.first_wanted))
        if 0 < epoch < file.epoch:  # trained again, from a step that may be in the file
            first = min(point.step for point in self._points(trial["id"], 0) if point.epoch > epoch)
            file.go_back(first, time.time())
            num_added += file.add(self._points(trial["id"], first))
        if trial["ended_at"] is not None:
            file.end(trial["state"], _seconds(trial["ended_at"]))
            self._over.add(trial["id"])
        file.flush()
        return num_added

    def _file(self, trial: Trial) -> "TrialFile":
        from trainmaster.client.tfevents import TrialFile

        if trial["id"] not in self._files:
            directory = self._directory / trial["experiment_id"] / trial["id"]
            started_s = _seconds(trial["started_at"] or trial["requested_at"])
            self._files[trial["id"]] = TrialFile(directory, trial["hyperparameters"], started_s)
        return self._files[trial["id"]]

    def _points(self, trial: str, from_step: int) -> "Iterator[Point]":
        from trainmaster.client.tfevents import Point

        decode = msgspec.json.Decoder(Point).decode
        query = Query(format="ndjson", from_step=from_step)
        rest = b""
        for chunk in self._client.export_metrics(query, trial_id=trial):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(decode, lines)


def _whole_ids(client: Client, ids: tuple[str, ...]) -> list[str]:
    return [trial_id(client, name) if "-" in name else experiment_id(client, name) for name in ids]


def _seconds(time_text: str) -> float:
    return datetime.fromisoformat(time_text).astimezone(UTC).timestamp()


def _serve(export: Export, directory: Path, port: int) -> None:
    program = [sys.executable, "-m", "tensorboard.main", "--logdir", str(directory), "--port", str(port)]
    process = subprocess.Popen(program)
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(REFRESH_S)
            export.refresh()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
    if process.returncode not in (0, -15):
        raise click.ClickException(f"TensorBoard ended with exit code {process.returncode}")
