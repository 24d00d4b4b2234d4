"""Starts the platform in the background, and stops it from outside."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

from trainmaster.embedded.directory import DataDirectory
from trainmaster.embedded.supervisor import NotReady, Plan

STOP_TIMEOUT_S = 120.0


def start_detached(plan: Plan) -> str:
    """Start a supervisor of its own session and return the URL once it is ready. Raises NotReady."""
    plan.directory.create()
    readable, writable = os.pipe()
    slots = [word for value in plan.slots for word in ("--slots", value)]
    data = ("--data", str(plan.directory.path))
    with plan.directory.open_log("supervisor") as output:
        subprocess.Popen(
            (sys.executable, "-P", "-m", "trainmaster.embedded", *data, *slots, "--ready-fd", str(writable)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(writable,),
        )
    os.close(writable)
    with os.fdopen(readable) as ready:
        url = ready.read()  # ends when the supervisor has closed its end: ready, or dead
    if not url:
        log = plan.directory.log_file("supervisor")
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise NotReady(f"the platform did not start: {last}\nSee {log}.")
    return url


def stop_detached(directory: DataDirectory) -> bool:
    """Ask the supervisor to take everything down and wait for it. Return False if there was none.

    Raises TimeoutError when it still runs after STOP_TIMEOUT_S.
    """
    pid = directory.supervisor_pid()
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    waiting = threading.Thread(target=directory.wait_released, daemon=True)
    waiting.start()
    waiting.join(STOP_TIMEOUT_S)
    if waiting.is_alive():
        raise TimeoutError(f"the supervisor (pid {pid}) still runs after {STOP_TIMEOUT_S:.0f} s")
    return True
