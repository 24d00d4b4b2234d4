"""tm preview: a search without a cluster."""

import subprocess
import sys
from pathlib import Path

import click

from trainmaster.cli.checkout import ROOT
from trainmaster.cli.options import json_option

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="The experiment's seed, instead of the file's.")
@click.option(
    "--trend",
    type=click.Choice(["improving", "worsening", "constant", "random"]),
    default="random",
    show_default=True,
    help="How each trial's metric compares with those of the trials before it.",
)
@click.option("--metrics", type=_FILE, help="A JSON file with each trial's metric; see docs/preview.md.")
@click.option("--report-every", type=click.IntRange(1), help="Units between reports where trials are only stopped.")
@json_option
def preview(
    file: Path, *, seed: int | None, trend: str, metrics: Path | None, report_every: int | None, as_json: bool
) -> None:
    """Show the trials that a search would have, and how far each would train."""
    words = [str(file), "--trend", trend]
    for option, value in (("--seed", seed), ("--metrics", metrics), ("--report-every", report_every)):
        words += [] if value is None else [option, str(value)]
    words += ["--json"] if as_json else []
    done = subprocess.run((sys.executable, "-m", "services.searcher.preview", *words), cwd=ROOT)
    raise SystemExit(done.returncode)
