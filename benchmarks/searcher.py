"""The searcher's state machine at scale: what a decision takes at 10,000 trials, and 100,000 trials in one experiment.

Each search runs by itself in a process of its own, in virtual time: all of its events are folded, and everything is
decided, but nothing is stored or sent. A decision is timed by the clock and by the processor: what is more by the clock
belonged to other programs. The pauses in which Python looks for garbage are timed, too, for one may fall into any
decision. Events a second are of the processor, the virtual cluster's own share included.
"""

import gc
import json
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median

import click
import msgspec

from benchmarks.report import Row, show
from benchmarks.virtual import VirtualCluster
from shared.config import parse_experiment
from shared.runtime import without_garbage
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
    decisions_cpu_s: tuple[float, ...]
    pauses_s: tuple[float, ...]  # for garbage, of the processor


@click.command()
@click.option("--trials", type=click.IntRange(1_000), default=MANY, show_default=True, help="In the large searches.")
@json_option
def main(*, trials: int, as_json: bool) -> None:
    """Measure all and print the table."""
    rows = []
    for name in SEARCHERS:
        found = _measured(name, LATENCY_AT + LATENCY_OVER)
        what = f"{name}: a decision at {LATENCY_AT:,} trials"
        rows += [
            Row(what=f"{what}, by the clock", unit="ms", values=_ms(found.decisions_s)),
            Row(what=f"{what}, by the processor", unit="ms", values=_ms(found.decisions_cpu_s)),
        ]
    for name in ("random", "adaptive_asha"):
        found = _measured(name, trials)
        what = f"{name}, {trials:,} trials"
        rows += [
            Row(what=f"{what}: events folded and decided on", unit="/s", values=(found.num_events / found.cpu_s,)),
            Row(what=f"{what}: memory at the most", unit="MB", values=(found.grown_bytes / 1e6,)),
            Row(what=f"{what}: a decision at their end", unit="ms", values=(1e3 * median(found.decisions_s),)),
            Row(what=f"{what}: a pause for garbage, by the processor", unit="ms", values=_ms(found.pauses_s) or (0.0,)),
        ]
    show("the searcher at scale", rows, as_json=as_json)


def _ms(durations_s: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(1e3 * took_s for took_s in durations_s)


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
        lambda hyperparameters: _Curve(float(hyperparameters["x"])),
    )
    without_garbage()
    before, started = _peak_bytes(), time.process_time()
    with _pauses() as pauses_s:
        cluster.run()
    took = time.process_time() - started
    return Measured(
        num_events=cluster.num_events,
        cpu_s=took,
        grown_bytes=_peak_bytes() - before,
        decisions_s=tuple(cluster.request_s)[-LATENCY_OVER:],
        decisions_cpu_s=tuple(cluster.request_cpu_s)[-LATENCY_OVER:],
        pauses_s=tuple(pauses_s),
    )


class _Curve(msgspec.Struct, gc=False):
    """The metric of a trial after an epoch. A closure would be what Python looks for garbage in."""

    x: float

    def __call__(self, epoch: int) -> float:
        return self.x + 1 / epoch


@contextmanager
def _pauses() -> Iterator[list[float]]:
    """Note how long each search for garbage takes."""
    found: list[float] = []

    def note(phase: str, _: dict[str, int]) -> None:
        found.append(time.thread_time() if phase == "start" else time.thread_time() - found.pop())

    gc.callbacks.append(note)
    try:
        yield found
    finally:
        gc.callbacks.remove(note)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
