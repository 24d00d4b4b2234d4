"""Search methods compared: quality per evaluation, with parallel workers, and what a suggestion costs.

Every search is kept in results/ as one line, so a run that is broken off goes on where it stopped, and the tables and
plots can be made again from what is there. `--fresh` begins anew.
"""

import json
from collections.abc import Iterator, Sequence

import click

from benchmarks.search import report
from benchmarks.search.lanes import PEERS, measure, run_all
from benchmarks.search.plot import draw
from benchmarks.search.problems import PROBLEMS
from benchmarks.search.store import RESULTS, Cell, Store

METHODS = ("bayesian", "random", *PEERS)
BUDGETS = (10, 25, 50)
PARALLEL_PROBLEMS = ("hartmann6", "conditional")
PARALLEL_METHODS = ("bayesian", "random", "optuna_tpe", "optuna_gp")  # scikit-optimize would take hours
PARALLEL_SEEDS = 10
PARALLEL_EVALUATIONS = 100
WORKERS = (1, 8, 64)
NUM_OBSERVED = (10, 100, 300, 500, 1000)
NUM_PENDING = 64
SKOPT_OBSERVED = 300  # at 1,000 it takes minutes


@click.command()
@click.option("--part", type=click.Choice(["quality", "parallel", "latency", "report"]), multiple=True)
@click.option("--problem", "problems", type=click.Choice(sorted(PROBLEMS)), multiple=True, help="All by default.")
@click.option("--method", "methods", multiple=True, help="All by default; bayesian_lhs and bayesian_random, too.")
@click.option("--seeds", default=20, show_default=True)
@click.option("--processes", default=2, show_default=True)
@click.option("--fresh", is_flag=True, help="Forget what was measured before.")
def main(
    *,
    part: Sequence[str],
    problems: Sequence[str],
    methods: Sequence[str],
    seeds: int,
    processes: int,
    fresh: bool,
) -> None:
    """Compare our search methods with Optuna's and scikit-optimize's; hours for everything, seconds for a part."""
    if fresh:
        for path in RESULTS.glob("*.json*"):
            path.unlink()
    parts, problems = part or ("quality", "parallel", "latency"), problems or tuple(PROBLEMS)
    quality, parallel = Store(RESULTS / "quality.jsonl"), Store(RESULTS / "parallel.jsonl")
    if "quality" in parts:
        run_all(_quality_cells(problems, methods or METHODS, seeds), quality, num_processes=processes)
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
    for seed in range(min(seeds, PARALLEL_SEEDS)):
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
    if outcomes := list(quality.outcomes.values()):
        title = "regret (or cost, in real training): median [quartiles]; Mann-Whitney U on the last, two-sided"
        report.quality(outcomes, BUDGETS, title)
        draw(outcomes, BUDGETS[-1], RESULTS / "quality.svg")
    for num_workers in WORKERS:
        found = [outcome for outcome in parallel.outcomes.values() if outcome.cell.num_workers == num_workers]
        if found:
            report.quality(found, (25, 50, PARALLEL_EVALUATIONS), f"{num_workers} workers in simulated time")
    latencies = RESULTS / "latency.json"
    if latencies.exists():
        report.latency(json.loads(latencies.read_text()))


if __name__ == "__main__":
    main()
