"""Which searches the comparison has, and what is made of them: tables, plots, a page of the documentation."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.search import report
from benchmarks.search.lanes import PEERS, measure, run_all
from benchmarks.search.plot import draw
from benchmarks.search.problems import PROBLEMS
from benchmarks.search.store import RESULTS, Cell, Store

METHODS = ("bayesian", "random", *PEERS)
BUDGETS = (10, 25, 50)
PARALLEL_PROBLEMS = ("hartmann6", "conditional")
PARALLEL_METHODS = ("bayesian", "random", "optuna_tpe", "optuna_gp")  # scikit-optimize would take hours
PARALLEL_EVALUATIONS = 100
WORKERS = (1, 8, 64)
NUM_OBSERVED = (10, 100, 300, 500, 1000)
NUM_PENDING = 64
SKOPT_OBSERVED = 300  # at 1,000 it takes minutes
DOCS = Path(__file__).resolve().parents[2] / "docs"
HEADER = """# Search methods compared

Written by `tm bench search` from benchmarks/search/results. Regret is the distance of the best cost so far from the
least possible one; in real training, where nobody knows that, it is the cost. Median (quartiles) over seeds; the last
column is a two-sided Mann-Whitney U test of our `bayesian` against the method after the last evaluation, at 5 %. With
few seeds, "tied" says little. `rosenbrock4_log` has four log hyperparameters; `conditional` chooses among optimizers
that have hyperparameters of their own. Peers run with their defaults, in the same loop, on the same problems. Latency
is in seconds of one core, which other programs on the machine hardly change. The first suggestion beside so many
observations fits the model; the longest is usually that one."""


def compare(
    parts: Sequence[str], problems: Sequence[str], methods: Sequence[str], *, seeds: int, processes: int, fresh: bool
) -> None:
    """Run what is not kept yet, and report everything that is; no part: all of them."""
    if fresh:
        for path in RESULTS.glob("*.json*"):
            path.unlink()
    parts = parts or ("quality", "parallel", "latency")
    quality, parallel = Store(RESULTS / "quality.jsonl"), Store(RESULTS / "parallel.jsonl")
    if "quality" in parts:
        run_all(
            _quality_cells(problems or tuple(PROBLEMS), methods or METHODS, seeds), quality, num_processes=processes
        )
    if "parallel" in parts:
        run_all(_parallel_cells(methods or PARALLEL_METHODS, seeds), parallel, num_processes=processes)
    if "latency" in parts:
        _measure_latency(methods or METHODS)
    _report(quality, parallel)


def _quality_cells(problems: Sequence[str], methods: Sequence[str], seeds: int) -> Iterator[Cell]:
    for seed in range(seeds):
        for method in methods:
            for problem in problems:
                yield Cell(problem=problem, method=method, seed=seed, num_evaluations=BUDGETS[-1], num_workers=1)


def _parallel_cells(methods: Sequence[str], seeds: int) -> Iterator[Cell]:
    for seed in range(seeds):
        for num_workers in WORKERS:
            for method in methods:
                for problem in PARALLEL_PROBLEMS:
                    yield Cell(
                        problem=problem,
                        method=method,
                        seed=seed,
                        num_evaluations=PARALLEL_EVALUATIONS,
                        num_workers=num_workers,
                    )


def _measure_latency(methods: Sequence[str]) -> None:
    requests = [
        {
            "method": method,
            "problem": "hartmann6",
            "seed": 0,
            "num_observed": num_observed,
            "num_pending": NUM_PENDING,
            "repeats": 1 if method == "skopt" else 5,
        }
        for method in methods
        for num_observed in NUM_OBSERVED
        if method != "skopt" or num_observed <= SKOPT_OBSERVED
    ]
    measured = [(request["method"], request["num_observed"], reply["took_s"]) for request, reply in measure(requests)]
    (RESULTS / "latency.json").write_text(json.dumps(measured, indent=1) + "\n")


def _report(quality: Store, parallel: Store) -> None:
    """Print the tables, draw the plots, and write both into the documentation."""
    parts = [HEADER]
    if outcomes := list(quality.outcomes.values()):
        table = report.quality(outcomes, BUDGETS, "regret (cost, in real training): median (quartiles)")
        parts += ["## One trial after another", table, "![](../images/search-quality.svg)"]
        draw(outcomes, BUDGETS[-1], DOCS / "images" / "search-quality.svg")
    for num_workers in WORKERS:
        if found := [outcome for outcome in parallel.outcomes.values() if outcome.cell.num_workers == num_workers]:
            title = f"{num_workers} workers in simulated time"
            parts += [f"## {title}", report.quality(found, (25, 50, PARALLEL_EVALUATIONS), title)]
    latencies = RESULTS / "latency.json"
    if latencies.exists():
        parts += ["## Latency, with 64 pending, on Hartmann-6", report.latency(json.loads(latencies.read_text()))]
    (DOCS / "benchmarks").mkdir(exist_ok=True)
    (DOCS / "benchmarks" / "search.md").write_text("\n\n".join(parts) + "\n")
