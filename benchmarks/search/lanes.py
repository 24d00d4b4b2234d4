"""Runs searches, several at a time, each in a process of the interpreter that has its method."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from queue import Empty, SimpleQueue
from typing import Any

from benchmarks.peers import peers_python
from benchmarks.search.store import Cell, Store

PEERS = ("optuna_tpe", "optuna_gp", "skopt")

#: A process has one core to itself, whatever its libraries think.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_all(cells: Iterable[Cell], store: Store, *, num_processes: int) -> None:
    """Run the searches that the store does not have yet."""
    waiting: SimpleQueue[Cell] = SimpleQueue()
    for cell in cells:
        if cell not in store.outcomes:
            waiting.put(cell)
    print(f"{waiting.qsize()} searches to run", flush=True)
    with ThreadPoolExecutor(num_processes) as pool:
        for done in [pool.submit(_work_off, waiting, store) for _ in range(num_processes)]:
            done.result()


def measure(requests: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Ask one request after another, each in a process of its own; yield requests and replies."""
    for request in requests:
        child = _start(_program(request["method"]))
        try:
            yield request, _ask(child, request)
        finally:
            child.kill()
            child.wait()


def _program(method: str) -> str:
    return "benchmarks.search.peer" if method in PEERS else "benchmarks.search.own"


def _work_off(waiting: SimpleQueue[Cell], store: Store) -> None:
    children: dict[str, subprocess.Popen[str]] = {}
    try:
        while True:
            cell = waiting.get_nowait()
            program = _program(cell.method)
            if program not in children:
                children[program] = _start(program)
            store.add(cell, _ask(children[program], asdict(cell)))
    except Empty:
        return
    finally:
        for child in children.values():
            child.kill()
            child.wait()


def _start(program: str) -> "subprocess.Popen[str]":
    python = peers_python() if program.endswith("peer") else sys.executable
    return subprocess.Popen(
        [str(python), "-m", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | _ENVIRONMENT,
    )


def _ask(child: "subprocess.Popen[str]", request: dict[str, Any]) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(request) + "\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the process for {request} ended")
    reply: dict[str, Any] = json.loads(line)
    return reply
