"""Which agent a container is: the first whose lock nobody holds. So `--scale agent=N` needs no list of names.

The locks lie beside the agents' work directories, in a volume that all agent containers of a machine share. A lock goes
with its holder: the container that replaces a killed one becomes the same agent again.
"""

import fcntl
import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path


def run(secrets: Path) -> None:
    """Become the worker service, as the agent that is free. Exits when all are taken."""
    work = Path(os.environ["TM_WORK_DIR"])
    agent_id = claim(work, agent_ids(secrets))
    os.environ |= {
        "TM_AGENT_ID": agent_id,
        "TM_NATS_URL_FILE": str(secrets / agent_id / "TM_NATS_URL"),
        "TM_WORK_DIR": str(work / agent_id),
        "TM_AGENT_ADDRESS": socket.gethostbyname(socket.gethostname()),
    }
    (work / agent_id).mkdir(exist_ok=True)
    os.execv(sys.executable, (sys.executable, "-P", "-m", "services.worker"))  # noqa: S606


def agent_ids(secrets: Path) -> list[str]:
    """Return the agents that have credentials, agent-2 before agent-10."""
    names = [path.name for path in secrets.iterdir() if path.is_dir()]
    return sorted(names, key=lambda name: (len(name), name))


def claim(locks: Path, agent_ids: Iterable[str]) -> str:
    """Return the first agent whose lock is free; this process holds it until its end, over an exec too."""
    for agent_id in agent_ids:
        descriptor = os.open(locks / f"{agent_id}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            os.set_inheritable(descriptor, True)
            return agent_id
    raise SystemExit("every agent that has credentials runs already; raise TM_AGENTS in .env and run `up` again")
