"""An agent's memory and environment, which hold its credentials, kept from the programs that run as its user: ranks.

Without this /proc/PID/environ and /proc/PID/mem (proc(5)) are theirs to read, and a debugger theirs to attach. Root,
and whoever else has CAP_SYS_PTRACE or CAP_PERFMON, is not kept out. Files that the user can read stay readable
(docs/operations.md, Threats).
"""

import ctypes
import os

_PR_SET_DUMPABLE = 4
_libc = ctypes.CDLL(None, use_errno=True)


def conceal() -> None:
    """Keep others of our user out of this process; a program that it starts is as open as ever. Raises OSError."""
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"the agent cannot conceal itself: {os.strerror(ctypes.get_errno())}")
