"""tm simulate, simulate-faults."""

import subprocess
import sys
from pathlib import Path

import click

from trainmaster.cli.checkout import ROOT
from trainmaster.cli.options import json_option


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--compare", multiple=True, metavar="POLICY", help="Run a trace under this policy, too; may be repeated: "
              "a type, then words, such as 'priority preemption'.")  # fmt: skip
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg|png",
              help="Draw a trace: the slots in use and the waits, one policy beside the other.")  # fmt: skip
@json_option
def simulate(file: Path, compare: tuple[str, ...], chart: Path | None, *, as_json: bool) -> None:
    """Run the scheduler's own decisions on the pool that FILE describes (docs/simulate.md)."""
    words = [str(file.absolute()), *(f"--compare={policy}" for policy in compare)]
    words += [f"--chart={chart.absolute()}"] if chart else []
    _run("services.scheduler.simulate", *words, *(["--json"] if as_json else []))


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
