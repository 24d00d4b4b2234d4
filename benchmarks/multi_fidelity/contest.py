"""Runs the searches, keeps what came of each, and tells how many epochs each method needs.

A method has arrived when its best validation loss so far is as good as random search's at its end: the median over the
seeds of what random search comes to with 5,000 epochs. What never arrives within as many counts as all of them.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from benchmarks.multi_fidelity import report
from benchmarks.multi_fidelity.own import EPOCHS, SEARCHERS
from benchmarks.multi_fidelity.problems import PROBLEMS
from benchmarks.multi_fidelity.race import MAX_EPOCHS
from benchmarks.peers import peers_python

PEERS = ("optuna_halving", "optuna_hyperband", "optuna_median", "ray_asha")
METHODS = (*SEARCHERS, *PEERS)
KEPT = Path(__file__).parent / "results.json"
BASELINE = "random"

#: What draws at random is cheap, and has so many times as many seeds: what it comes to is mostly luck.
MORE_SEEDS = 5
DRAWING = frozenset(SEARCHERS) - EPOCHS.keys() | {"ray_asha"}

#: After how many epochs the best loss so far got better, and what it was.
Improvements = list[tuple[int, float]]


class Cell(NamedTuple):
    """One search."""

    problem: str
    method: str
    seed: int


Results = dict[Cell, Improvements]

#: A process has one core to itself, whatever its libraries think.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def hold(*, seeds: int, methods: Sequence[str], num_processes: int, write: bool, as_json: bool) -> None:
    """Run what is not kept, print the table, and with `write` keep it all."""
    if unknown := set(methods) - set(METHODS):
        raise SystemExit(f"there is no method {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    chosen = [method for method in METHODS if not methods or method in (*methods, BASELINE)]
    cells = [
        Cell(problem, method, seed)
        for problem in PROBLEMS
        for method in chosen
        for seed in range(seeds * (MORE_SEEDS if method in DRAWING else 1))
    ]
    wanted = set(cells)
    results = {cell: found for cell, found in kept().items() if cell in wanted}
    missing = [cell for cell in cells if cell not in results]
    run_all([cell for cell in missing if cell.method == BASELINE], results, num_processes, write=write)
    run_all([cell for cell in missing if cell.method != BASELINE], results, num_processes, write=write)
    rows = [row for problem in PROBLEMS for row in standing(results, problem)]
    if write:
        keep(kept() | results)
        report.write(rows, {problem: _courses(results, problem) for problem in PROBLEMS}, seeds)
    report.show(rows, as_json=as_json)


def run_all(cells: Sequence[Cell], results: Results, num_processes: int, *, write: bool) -> None:
    """Run searches, several at a time; with `write` each is kept at once."""
    by_program: dict[str, list[Cell]] = {"own": [], "peer": []}
    for cell in cells:
        by_program["peer" if cell.method in PEERS else "own"].append(cell)
    lock = Lock()

    def work_off(program: str, share: list[Cell]) -> None:
        with _start(program) as child:
            for number, cell in enumerate(share, start=1):
                found = _ask(child, cell, 0.0 if cell.method == BASELINE else target_of(results, cell.problem))
                with lock:
                    results[cell] = found
                    if write:
                        keep(kept() | results)
                sys.stderr.write(f"{program}: {number} of {len(share)}: {cell.problem}, {cell.method}\n")
            child.stdin.close()  # type: ignore[union-attr] # it is a pipe

    with ThreadPoolExecutor(num_processes) as pool:
        shares = [
            (program, share[first::num_processes])
            for program, share in by_program.items()
            for first in range(num_processes)
        ]
        for done in [pool.submit(work_off, *share) for share in shares if share[1]]:
            done.result()


def _start(program: str) -> "subprocess.Popen[str]":
    python = peers_python() if program == "peer" else Path(sys.executable)
    words = [str(python), "-m", f"benchmarks.multi_fidelity.{program}"]
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | _ENVIRONMENT, cwd=root
    )


def _ask(child: "subprocess.Popen[str]", cell: Cell, target: float) -> Improvements:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(json.dumps(cell._asdict() | {"target": target}) + "\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the process for {cell} ended")
    return [(int(epochs), float(loss)) for epochs, loss in json.loads(line)]


def target_of(results: Results, problem: str) -> float:
    """Return what random search comes to in the end: the median."""
    courses = [found for cell, found in list(results.items()) if (cell.problem, cell.method) == (problem, BASELINE)]
    return statistics.median(found[-1][1] for found in courses)


def standing(results: Results, problem: str) -> list[report.Row]:
    """Return the table's rows of a problem."""
    target = target_of(results, problem)
    rows = []
    for method in METHODS:
        courses = [found for cell, found in results.items() if cell.problem == problem and cell.method == method]
        if courses:
            needed = [_arrives(found, target) for found in courses]
            losses = [found[-1][1] for found in courses]
            rows.append(report.row(problem, method, target, needed, losses, MAX_EPOCHS))
    return rows


def _arrives(found: Improvements, target: float) -> int:
    return next((epochs for epochs, loss in found if loss <= target), MAX_EPOCHS)


def _courses(results: Results, problem: str) -> dict[str, list[Improvements]]:
    return {
        method: [found for cell, found in results.items() if (cell.problem, cell.method) == (problem, method)]
        for method in METHODS
    }


def kept() -> Results:
    """Return the searches that were run before."""
    if not KEPT.exists():
        return {}
    found: list[dict[str, Any]] = json.loads(KEPT.read_text())
    return {
        Cell(one["problem"], one["method"], one["seed"]): [(int(e), float(loss)) for e, loss in one["improvements"]]
        for one in found
    }


def keep(results: Results) -> None:
    """Keep them, a search a line."""
    lines = [
        json.dumps({**cell._asdict(), "improvements": [(epochs, round(loss, 5)) for epochs, loss in found]})
        for cell, found in sorted(results.items())
    ]
    KEPT.write_text("[\n" + ",\n".join(lines) + "\n]\n")
