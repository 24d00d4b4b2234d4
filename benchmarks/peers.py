"""The peers that benchmarks are measured beside, in a virtual environment of their own."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

_HERE = Path(__file__).parent
_ENVIRONMENT = _HERE.parent / ".peers"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


def peers_python() -> Path:
    """Return an interpreter that has the peers of peers.txt, installing them on first need (minutes, gigabytes).

    TM_PEERS_PYTHON names another one. Raises CalledProcessError when they cannot be installed.
    """
    if named := os.environ.get("TM_PEERS_PYTHON"):
        return Path(named)
    python, done = _ENVIRONMENT / "bin" / "python", _ENVIRONMENT / "installed.txt"
    wanted = (_HERE / "peers.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        sys.stderr.write("installing the peers (once) …\n")
        venv.create(_ENVIRONMENT, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", _HERE / "peers.txt"], check=True)
        done.write_text(wanted)
    return python


def rate(script: Path, *arguments: str, num_processes: int = 1) -> float:
    """Return how much so many processes of a script get done in a second, all together.

    Each prints, as its last line, {"began": unix time in s, "ended": the same, "done": how much}: what it takes to
    start does not count.
    """
    command = [str(peers_python()), str(script), *arguments]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | _QUIET, text=True)
        for _ in range(num_processes)
    ]
    told = []
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{script.name} failed; what it said is above")
        told.append(json.loads(output.splitlines()[-1]))
    lasted_s = max(one["ended"] for one in told) - min(one["began"] for one in told)
    return float(sum(one["done"] for one in told) / lasted_s)
