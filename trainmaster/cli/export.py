"""tm export: the log as a file that can be verified and analysed elsewhere."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json
from trainmaster.cli.selection import query_of, selection_options
from trainmaster.client import export as exporting
from trainmaster.client import parquet
from trainmaster.client.export import Exporter
from trainmaster.client.hints import command

NARROWING = ("since", "experiment", "trial", "name", "writer")


@click.command()
@click.option("--to", "target", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Ends in .jsonl or .parquet.")  # fmt: skip
@selection_options
@data_option
@json_option
def export(target: Path, data: str | None, *, as_json: bool, **selection: Any) -> None:
    """Write the log to a file, by default all of it.

    A file that begins with the first event and leaves none out can be verified anywhere: tm audit verify FILE.
    """
    if target.suffix not in {".jsonl", ".parquet"}:
        raise click.BadParameter(f"{target} ends in neither .jsonl nor .parquet", param_hint="--to")
    exporter = Exporter(is_whole=not selection["after"] and not any(selection[name] for name in NARROWING))
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    with platform_client(data) as client:
        try:
            _write(scratch, exporter, client.raw_events(query_of(client, selection)), target.suffix)
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
    if as_json:
        print_json({"file": str(target), "num_events": exporter.end.num_events, "is_whole": exporter.end.is_whole})
        return
    what = (
        f"the whole log; verify it with: {command(f'audit verify {target}')}"
        if exporter.end.is_whole
        else "a part of the log"
    )
    click.echo(f"{exporter.end.num_events:,} events in {target} ({what})")


def _write(path: Path, exporter: Exporter, lines: Iterable[bytes], suffix: str) -> None:
    if suffix == ".parquet":
        parquet.write(path, exporter, lines)
        return
    with path.open("wb") as file:
        file.writelines(exporting.json_lines(exporter, lines))
        file.flush()
        os.fsync(file.fileno())
