"""The peers that benchmarks are measured beside, in a virtual environment of their own."""

import os
import subprocess
import sys
import venv
from pathlib import Path

_HERE = Path(__file__).parent
_ENVIRONMENT = _HERE.parent / ".peers"


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
