"""tm metrics: every point that a trial or an experiment reported, as a file."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from trainmaster.cli.options import data_option, experiment_id, json_option, platform_client, trial_id
from trainmaster.cli.output import print_json, size
from trainmaster.cli.transfer import receiving
from trainmaster.client import Client
from trainmaster.client.client import Query

FORMATS = {"csv": "csv", "json": "ndjson", "parquet": "parquet"}  # as the API calls them
SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}


@click.command()
@click.argument("id_", metavar="TRIAL|EXPERIMENT")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="By default as FILE ends, or csv; json is a line a point.",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of the terminal."
)
@click.option(
    "--group", metavar="GROUP", help="Only training, validation, profiling, system, or one of the script's own."
)
@click.option("--name", metavar="NAME", help="Only the metric of this name.")
@click.option("--archived", is_flag=True, help="Also what a failed attempt reported and a later one repeated.")
@data_option
@json_option
def metrics(
    id_: str,
    *,
    form: str | None,
    output: Path | None,
    group: str | None,
    name: str | None,
    archived: bool,
    data: str | None,
    as_json: bool,
) -> None:
    """Write all metrics of a trial or an experiment, as CSV, JSON lines or Parquet.

    Columns: trial_id, group, name, epoch (the attempt), step, time, value, archived.
    """
    form = form or SUFFIXES.get(output.suffix if output else "", "json" if as_json and output is None else "csv")
    if as_json and output is None and form != "json":
        raise click.UsageError(f"--json prints JSON, --format {form} something else; leave one out, or add -o FILE")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for terminals; add -o FILE or write it into a pipe")
    query = Query(format=FORMATS[form], group=group, name=name, archived=str(archived).lower())
    with platform_client(data) as client:
        chunks = _read(client, id_, query)
        if output is None:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
        else:
            num_bytes = _save(output, chunks)
            if as_json:
                print_json({"file": str(output), "format": form, "size_bytes": num_bytes})
            else:
                click.echo(f"{size(num_bytes)} in {output}")


def _read(client: Client, id_: str, query: Query) -> Iterator[bytes]:
    if "-" in id_:
        return client.export_metrics(query, trial_id=trial_id(client, id_))
    return client.export_metrics(query, experiment_id=experiment_id(client, id_))


def _save(output: Path, chunks: Iterator[bytes]) -> int:
    """Write the file, which gets its name when it is whole; return its size in bytes."""
    scratch = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        num_bytes = 0
        with scratch.open("wb") as file, receiving(output.name, None) as received:
            for chunk in chunks:
                num_bytes += file.write(chunk)
                received(len(chunk))
        scratch.replace(output)
    finally:
        scratch.unlink(missing_ok=True)
    return num_bytes
