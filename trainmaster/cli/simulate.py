"""tm simulate, simulate-faults."""

import subprocess
import sys
from pathlib import Path

import click

from trainmaster.cli.checkout import ROOT
from trainmaster.cli.options import json_option


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def simulate(file: Path, *, as_json: bool) -> None:
    """Run the scheduler's own decisions on the pool that FILE describes (docs/simulate.md)."""
    _run("services.scheduler.simulate", str(file.absolute()), *(["--json"] if as_json else []))


@click.command("simulate-faults")
@click.option("--seeds", type=click.IntRange(1, 10_000_000), default=1000, show_default=True, help="How many seeds.")
@click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True, help="The first of them.")
@json_option
def simulate_faults(seeds: int, first_seed: int, *, as_json: bool) -> None:
    """Run the real deciders in simulated clusters under faults, one per seed; a seed that fails replays exactly."""
    words = ["--seeds", str(seeds), "--first-seed", str(first_seed), *(["--json"] if as_json else [])]
    _run("tests.simulation", *words)


def _run(module: str, *words: str) -> None:
    done = subprocess.run((sys.executable, "-m", module, *words), cwd=ROOT)
    raise SystemExit(done.returncode)
