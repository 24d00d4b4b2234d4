"""Runs scripts as the ranks of a gang, forked from one process that has imported torch and DeepSpeed.

A request is a line of JSON on stdin: {"script": path, "output": path, "environments": [{…} per rank]}; the answer, a
line on stdout, is the list of exit codes. Torch takes seconds to import; this way the tests wait for it once.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
from typing import Any, NoReturn

import torch

PRELOADED = (
    "deepspeed",
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "trainmaster.sdk.agent",
    "trainmaster.sdk.deepspeed",
)


def run(request: dict[str, Any]) -> list[int]:
    """Fork the ranks, wait for all of them and return their exit codes."""
    pids = [fork(request, environment) for environment in request["environments"]]
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def fork(request: dict[str, Any], environment: dict[str, str]) -> int:
    """Start one rank."""
    pid = os.fork()
    if pid == 0:
        os.environ.update(environment)
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        become(request["script"])
    return pid


def become(script: str) -> NoReturn:
    """Run a script as the interpreter would, and end."""
    torch.set_num_threads(1)
    sys.argv = [script]
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except BaseException:  # noqa: BLE001  # whatever it is, the interpreter would print it and exit with 1
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def answer(text: str) -> None:
    """Write a line for the test."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for module in PRELOADED:
        importlib.import_module(module)
    answer("ready")
    for line in sys.stdin:
        answer(json.dumps(run(json.loads(line))))
