"""Whole trials per second, from allocation to closing, with a script that does next to nothing.

Every part is the real one: events flushed to disk, a process per trial, its metric through socket, log and tables.
Beside it, the limit: as many bare `python -c pass` processes, two at a time, on the same machine; and Ray Tune with
trials that do as little, each in a process of its own (its default) and with reused actors (which share one
interpreter).
"""

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import click

from benchmarks.peers import peers_python
from benchmarks.platform import Platform, platform
from benchmarks.report import Row, show
from trainmaster.cli.options import json_option

SLOTS = 2
TRIALS = 100
RUNS = 3
RAY_TRIALS = 20  # it takes its time
RAY_SCRIPT = Path(__file__).parent / "scripts" / "ray_trials.py"
SCRIPT = """
import trainmaster as tm

with tm.trial() as trial:
    trial.report_validation(1, loss=trial.hyperparameters["x"])
"""
CONFIG = {
    "name": "trials per second",
    "entrypoint": "python train.py",
    "searcher": {"name": "random", "metric": "loss", "max_trials": TRIALS},
    "hyperparameters": {"x": {"type": "double", "minval": 0.0, "maxval": 1.0}},
}


@click.command()
@click.option("--ray/--no-ray", "with_ray", default=True, show_default=True, help="Beside Ray Tune, too.")
@json_option
def main(*, with_ray: bool, as_json: bool) -> None:
    """Measure and print the table."""
    with platform(f"cpu:{SLOTS}") as running, tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "train.py").write_text(SCRIPT)
        trials = tuple(_trials_per_s(running, Path(directory)) for _ in range(RUNS))
    bare = tuple(_processes_per_s() for _ in range(RUNS))
    rows = [
        Row(what=f"trials, {TRIALS} a search, {SLOTS} slots", unit="/s", values=trials),
        Row(what="bare python processes, 2 at a time", unit="/s", values=bare),
    ]
    if with_ray:
        rows += _under_ray()
    show("sustained trials per second", rows, as_json=as_json)


def _trials_per_s(running: Platform, code: Path) -> float:
    experiment_id = running.submit(CONFIG, code)
    running.wait_for(experiment_id)
    events = running.events(experiment_id)
    first = min(_time_s(event) for event in events if event["name"] == "GPUAllocated")
    closings = [_time_s(event) for event in events if event["name"] == "TrialClosed"]
    return len(closings) / (max(closings) - first)


def _under_ray() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="tm-ray-") as storage:
        command = [str(peers_python()), str(RAY_SCRIPT), str(RAY_TRIALS), storage]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    found = json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{")))
    return [
        Row(what=f"Ray Tune, {RAY_TRIALS} trials, a process each", unit="/s", values=(found["anew"]["trials_per_s"],)),
        Row(what="Ray Tune, reused actors", unit="/s", values=(found["reused"]["trials_per_s"],)),
        Row(what="Ray Tune: submission → first line", unit="s", values=(found["anew"]["first_line_s"],)),
    ]


def _time_s(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _processes_per_s() -> float:
    started_at = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(lambda _: subprocess.run([sys.executable, "-c", "pass"], check=True), range(TRIALS)))
    return TRIALS / (time.monotonic() - started_at)
