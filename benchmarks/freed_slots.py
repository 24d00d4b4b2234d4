"""How long a slot that falls free stands idle: from the end of one trial to the first training step of the next on it.

First single-slot trials of a random search with DeepSpeed, which do little but start; each says when its first step
was done. Then the digits example, a Bayesian search of twelve trials on two ranks each: its wall time from submission
to the end, and the part of its slots' time, from the first start to the last exit, in which no trial of it ran.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import yaml

from benchmarks.first_step import SCRIPT
from benchmarks.platform import Platform, platform
from benchmarks.report import Row, show
from trainmaster.cli.options import json_option

SLOTS = 2
TRIALS = 20
DIGITS = Path(__file__).parents[1] / "examples" / "digits"
CONFIG = {
    "name": "freed slots",
    "entrypoint": f"python {SCRIPT.name}",
    "searcher": {"name": "random", "metric": "loss", "max_trials": TRIALS},
    "hyperparameters": {"x": {"type": "double", "minval": 0.0, "maxval": 1.0}},
}
_FIRST_STEP = re.compile(r"first step at ([\d.]+)")

Event = dict[str, Any]
Run = tuple[str, tuple[int, ...], float, float]
"""A trial's stay on slots: which trial, which slots, from when, until when."""


@click.command()
@click.option("--digits/--no-digits", "with_digits", default=True, show_default=True, help="The digits search, too.")
@json_option
def main(*, with_digits: bool, as_json: bool) -> None:
    """Measure and print the table."""
    with platform(f"cpu:{SLOTS}") as running:
        with tempfile.TemporaryDirectory() as directory:
            shutil.copy(SCRIPT, directory)
            rows = _gaps(running, Path(directory))
        if with_digits:
            rows += _digits(running)
    show("slots that fall free", rows, as_json=as_json)


def _gaps(running: Platform, code: Path) -> list[Row]:
    experiment_id = running.submit(CONFIG, code)
    running.wait_for(experiment_id)
    events = running.events(experiment_id)
    runs = list(_runs(events))
    first_steps = {trial_id: _first_step(running, trial_id) for trial_id, *_ in runs}
    allocated = {event["event"]["trial_id"]: _time_s(event) for event in events if event["name"] == "GPUAllocated"}
    freed: dict[int, float] = {}
    gaps = []
    for trial_id, slots, _, until in runs:
        gaps += [first_steps[trial_id] - freed[slot] for slot in slots if slot in freed]
        freed |= dict.fromkeys(slots, until)
    starts = tuple(first_steps[trial_id] - allocated[trial_id] for trial_id, *_ in runs)
    return [
        Row(what="a trial's exit → the next one's first step on the slot", unit="s", values=tuple(gaps)),
        Row(what="GPUAllocated → first step, of these", unit="s", values=starts),
    ]


def _digits(running: Platform) -> list[Row]:
    config: dict[str, Any] = yaml.safe_load((DIGITS / "search.yaml").read_text())
    experiment_id = running.submit(config, DIGITS)
    running.wait_for(experiment_id)
    events = running.events(experiment_id)
    runs = list(_runs(events))
    begin, end = min(run[2] for run in runs), max(run[3] for run in runs)
    busy_s = sum(len(slots) * (until - since) for _, slots, since, until in runs)
    idle = 100 * (1 - busy_s / (SLOTS * (end - begin)))
    return [
        Row(what="digits search, wall time", unit="s", values=(_time_s(events[-1]) - _time_s(events[0]),)),
        Row(what="digits search, slots idle", unit="%", values=(idle,)),
    ]


def _runs(events: list[Event]) -> Iterator[Run]:
    """Yield the stays on slots, from TrialStarted to TrialExited, in the order in which they ended."""
    slots: dict[str, tuple[int, ...]] = {}
    started: dict[str, float] = {}
    for event in events:
        told = event["event"]
        match event["name"]:
            case "GPUAllocated":
                slots[told["trial_id"]] = tuple(number for member in told["members"] for number in member["slots"])
            case "TrialStarted":
                started[told["trial_id"]] = _time_s(event)
            case "TrialExited":
                trial_id = told["trial_id"]
                yield trial_id, slots[trial_id], started[trial_id], _time_s(event)


def _first_step(running: Platform, trial_id: str) -> float:
    found = _FIRST_STEP.search("\n".join(running.log_lines(trial_id)))
    if found is None:
        raise SystemExit(f"trial {trial_id} never said when its first step was done")
    return float(found[1])


def _time_s(event: Event) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
