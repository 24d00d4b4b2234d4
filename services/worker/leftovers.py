"""Processes that the trials of an agent's earlier life have left, where agent and warm parent were killed at once.

Ranks die with their parent; what they have started need not. An agent that starts in the same directory ends it before
it joins, so that nobody holds a GPU that is being given to somebody else. A process is such a one if a variable that it
was started with names the directory, or if it shares the lock on it (a rank's forks inherit that).
"""

import contextlib
import os
import signal
from pathlib import Path

VARIABLE = "TM_AGENT_DIRECTORY"  # in which trials are told the resolved path of their agent's directory

_PROC = Path("/proc")


def note_owner(lock_fd: int) -> None:
    """Write into the locked file which process has the directory now."""
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, _identity(os.getpid()).encode(), 0)


def is_owner_dead(lock_fd: int) -> bool:
    """Say whether the process that the file names is gone; if it names none, nobody knows."""
    owner = os.pread(lock_fd, 100, 0).decode()
    return owner != "" and owner != _identity(int(owner.partition(" ")[0]))


def end_all(directory: Path, lock: Path) -> None:
    """Kill what is left of the trials in the directory, whose owner is dead."""
    for process in _PROC.glob("[0-9]*"):
        if int(process.name) != os.getpid() and (_names(directory, process) or _shares(lock, process)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)


def _identity(pid: int) -> str:
    """Return a process's number and when it began: the number alone may be another's one day."""
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()  # the name before it is any bytes
    except OSError:
        return ""
    return "" if fields[0] == b"Z" else f"{pid} {int(fields[19])}"


def _names(directory: Path, process: Path) -> bool:
    sought = os.fsencode(f"{VARIABLE}={directory}")
    try:
        return sought in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return False


def _shares(lock: Path, process: Path) -> bool:
    """Say whether a process has the file open *and* locked: others may just wait for it."""
    try:
        opened = [fd.name for fd in (process / "fd").iterdir() if fd.readlink() == lock]
        return any("lock:" in (process / "fdinfo" / name).read_text() for name in opened)
    except OSError:
        return False
