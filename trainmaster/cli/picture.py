"""What the live view of an experiment shows: as many lines as fit the terminal, one a trial.

Trials that train or wait come first, then the best of those that are over; hyperparameters that are the same in all
trials are left out, and what does not fit into a line is cut off.
"""

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trainmaster.cli.output import STATE_STYLES, flat, number
from trainmaster.client.shapes import Experiment, Trial

FRAME_LINES = 4  # the head, the columns, the line that counts the rest, and the cursor's own
MIN_WIDTH = 40
NUM_BEST = 3  # lines that trials which wait leave to the best ones
OPEN = ("RUNNING", "STOPPING", "PARKED", "WAITING")
COLUMNS = ("TRIAL", "STATE", "STEP", "BEST", "AT", "HYPERPARAMETERS")


def picture(experiment: Experiment, trials: list[Trial], width: int, height: int) -> Group:
    """Return the view for a terminal of so many columns and lines."""
    shown = chosen(trials, max(1, height - FRAME_LINES), smaller_is_better=experiment["searcher"]["smaller_is_better"])
    varied = varying(trials)
    table = Table(box=None, pad_edge=False, header_style="bold", width=max(width, MIN_WIDTH) - 1)
    for column in COLUMNS:
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1 if column == COLUMNS[-1] else None)
    for trial in shown:
        table.add_row(*_row(trial, varied))
    rest = [Text(f"… and {len(trials) - len(shown)} more")] if len(shown) < len(trials) else []
    return Group(_head(experiment), table, *rest)


def chosen(trials: list[Trial], num_lines: int, *, smaller_is_better: bool) -> list[Trial]:
    """Return the trials to show: those that train, those that wait as far as there is room, the best of the others."""
    busy = sorted((trial for trial in trials if trial["state"] in OPEN), key=lambda trial: OPEN.index(trial["state"]))
    over = [trial for trial in trials if trial["state"] not in OPEN]
    sign = 1 if smaller_is_better else -1
    over.sort(key=lambda trial: math.inf if trial["metric"] is None else sign * trial["metric"])
    num_busy = min(len(busy), max(num_lines - min(NUM_BEST, len(over)), num_lines // 2))
    return busy[:num_busy] + over[: num_lines - num_busy]


def varying(trials: list[Trial]) -> set[str]:
    """Return the names of the hyperparameters that are not the same in all trials."""
    seen: dict[str, set[str]] = {}
    for trial in trials:
        for name, value in flat("", trial["hyperparameters"]):
            seen.setdefault(name, set()).add(repr(value))
    return {name for name, values in seen.items() if len(values) > 1}


def _row(trial: Trial, varied: set[str]) -> list[Text]:
    values = ((name, value) for name, value in flat("", trial["hyperparameters"]) if name in varied)
    figures = " ".join(f"{name}={number(value)}" for name, value in values)
    state = Text(trial["state"], style=STATE_STYLES.get(trial["state"], ""))
    cells = (Text(number(value)) for value in (trial["step"], trial["metric"], trial["best_step"]))
    return [Text(trial["id"]), state, *cells, Text(figures)]


def _head(experiment: Experiment) -> Text:
    best, counts = experiment["best"], experiment["trials"]
    done = f"{counts['completed']} completed, {counts['running']} running, {counts['waiting']} waiting"
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    told = f"  best {experiment['searcher']['metric']} {number(best['metric'])} by {best['trial_id']}" if best else ""
    text = f"{experiment['name']}  {experiment['state']}  {done}{failed}{told}"
    return Text(text, style="bold", no_wrap=True, overflow="ellipsis")
