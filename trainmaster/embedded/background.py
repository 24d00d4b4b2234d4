"""Starts the platform in the background, and stops it from outside."""

import os
import select
import signal
import subprocess
import sys

from trainmaster.embedded.child import last_words
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
        raise NotReady(f"the platform did not start: {last_words(log)}\nSee {log}.")
    return url


def stop_detached(directory: DataDirectory) -> bool:
    """Ask the supervisor to take everything down and wait for it. Return False if there was none.

    Raises TimeoutError when it still runs after STOP_TIMEOUT_S.
    """
    pid = directory.supervisor_pid()
    if pid is None:
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True  # it ended just now
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select((process,), (), (), STOP_TIMEOUT_S)  # readable once the process is gone
    except ProcessLookupError:
        return True
    finally:
        os.close(process)
    if not ended:
        raise TimeoutError(f"the supervisor (pid {pid}) still runs after {STOP_TIMEOUT_S:.0f} s")
    return True
