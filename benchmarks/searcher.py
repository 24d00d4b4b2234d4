"""The searcher's state machine at scale: what a decision takes at 10,000 trials, and 100,000 trials in one experiment.

Each search runs by itself in a process of its own, in virtual time: all of its events are folded, and everything is
decided, but nothing is stored or sent. Times are of the processor, the virtual cluster's own share included.
"""

import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median

import click

from benchmarks.report import Row, show
from benchmarks.virtual import VirtualCluster
from shared.config import parse_experiment
from trainmaster.cli.options import json_option

NUM_EPOCHS = 16
NUM_SLOTS = 64
LENGTH: dict[str, object] = {"max_length": {"epochs": NUM_EPOCHS}}
TIME: dict[str, object] = {"max_time": NUM_EPOCHS, "time_metric": "epochs"}
SEARCHERS: dict[str, dict[str, object]] = {
    "random": {"name": "random"},
    "grid": {"name": "grid"},
    "async_halving": {"name": "async_halving", "num_rungs": 3, **TIME},
    "adaptive_asha": {"name": "adaptive_asha", **LENGTH},
}
LATENCY_AT, LATENCY_OVER = 10_000, 1_000  # trials that there are, and trials over which a decision is timed
MANY = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a search took."""

    num_events: int
    cpu_s: float
    grown_bytes: int  # of memory, at the most
    decisions_s: tuple[float, ...]  # the last ones, each of which requested trials


@click.command()
@click.option("--trials", type=click.IntRange(1_000), default=MANY, show_default=True, help="In the large searches.")
@json_option
def main(*, trials: int, as_json: bool) -> None:
    """Measure all and print the table."""
    rows = []
    for name in SEARCHERS:
        found = _measured(name, LATENCY_AT + LATENCY_OVER)
        values = tuple(1e3 * took for took in found.decisions_s)
        rows.append(Row(what=f"{name}: a decision at {LATENCY_AT:,} trials", unit="ms", values=values))
    for name in ("random", "adaptive_asha"):
        found = _measured(name, trials)
        what = f"{name}, {trials:,} trials"
        rows += [
            Row(what=f"{what}: events folded and decided on", unit="/s", values=(found.num_events / found.cpu_s,)),
            Row(what=f"{what}: memory at the most", unit="MB", values=(found.grown_bytes / 1e6,)),
            Row(what=f"{what}: a decision at their end", unit="ms", values=(1e3 * median(found.decisions_s),)),
        ]
    show("the searcher at scale", rows, as_json=as_json)


def _measured(name: str, num_trials: int) -> Measured:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, name, num_trials).result()


def measure(name: str, num_trials: int) -> Measured:
    """Run a search in this process."""
    searcher = {**SEARCHERS[name], "metric": "loss", "max_concurrent_trials": NUM_SLOTS}
    axis = {"type": "double", "minval": 0, "maxval": 1, "count": num_trials}
    if name != "grid":
        searcher["max_trials"] = num_trials
    document = {"entrypoint": "x", "searcher": searcher, "hyperparameters": {"x": axis}}
    cluster = VirtualCluster(
        parse_experiment(json.dumps(document)).with_seed(1),
        NUM_SLOTS,
        NUM_EPOCHS if "max_length" in searcher or "max_time" in searcher else 1,
        lambda hyperparameters: lambda epoch: float(hyperparameters["x"]) + 1 / epoch,
    )
    before, started = _peak_bytes(), time.process_time()
    cluster.run()
    took = time.process_time() - started
    return Measured(
        num_events=cluster.num_events,
        cpu_s=took,
        grown_bytes=_peak_bytes() - before,
        decisions_s=tuple(cluster.request_s)[-LATENCY_OVER:],
    )


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
