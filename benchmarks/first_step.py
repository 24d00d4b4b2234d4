"""Submit → first training step, beside bare torchrun of the same script on the same machine.

Two ranks, ZeRO-1, a tiny network. On the platform the clock starts before the HTTP request that submits; under
torchrun before the process is started. The script prints the wall-clock time at which its first step was done.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import click

from benchmarks.platform import Platform, platform
from benchmarks.report import Row, show
from trainmaster.cli.options import json_option

RUNS = 5
RANKS = 2
SCRIPT = Path(__file__).parent / "scripts" / "first_step.py"
CONFIG = {
    "name": "first step",
    "entrypoint": f"python {SCRIPT.name}",
    "searcher": {"name": "single", "metric": "loss"},
    "resources": {"slots_per_trial": RANKS},
}
_FIRST_STEP = re.compile(r"first step at ([\d.]+)")


@click.command()
@json_option
def main(*, as_json: bool) -> None:
    """Measure both, alternating, and print the table."""
    submitted, allocated, torchrun = [], [], []
    with platform(f"cpu:{RANKS}") as running, tempfile.TemporaryDirectory() as directory:
        shutil.copy(SCRIPT, directory)
        for _ in range(RUNS):
            from_submit_s, from_allocation_s = _on_the_platform(running, Path(directory))
            submitted.append(from_submit_s)
            allocated.append(from_allocation_s)
            torchrun.append(_under_torchrun())
    rows = [
        Row(what="submit → first step", unit="s", values=tuple(submitted)),
        Row(what="GPUAllocated → first step", unit="s", values=tuple(allocated)),
        Row(what="bare torchrun → first step", unit="s", values=tuple(torchrun)),
    ]
    show(f"time to the first training step, {RANKS} ranks", rows, as_json=as_json)


def _on_the_platform(running: Platform, code: Path) -> tuple[float, float]:
    started_at = time.time()
    experiment_id = running.submit(CONFIG, code)
    running.wait_for(experiment_id)
    first_step_at = _first_step_at("\n".join(running.log_lines(f"{experiment_id}-1")))
    allocated = next(event for event in running.events(experiment_id) if event["name"] == "GPUAllocated")
    return first_step_at - started_at, first_step_at - datetime.fromisoformat(allocated["time"]).timestamp()


def _under_torchrun() -> float:
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}", str(SCRIPT)]
    started_at = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return _first_step_at(done.stdout) - started_at


def _first_step_at(output: str) -> float:
    found = _FIRST_STEP.search(output)
    if found is None:
        raise SystemExit(f"the script never said when its first step was done:\n{output[-2000:]}")
    return float(found[1])
