"""How much memory each program takes: proportional set size, so that shared pages count once in all; of a program that
shows only its resident set, that."""

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def pss_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Return each program's memory with that of all its descendants; 0 when it is gone or not ours to see."""
    parents = children()
    return {name: sum(map(_pss_of, _family(pid, parents))) for name, pid in pids.items()}


def children(proc: Path = _PROC) -> dict[int, list[int]]:
    """Return the children of every process that has some."""
    found: dict[int, list[int]] = {}
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_bytes().rpartition(b")")[2].split()  # the name before it is any bytes at all
            found.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return found


def _family(pid: int, children: Mapping[int, list[int]]) -> list[int]:
    family = [pid]
    for member in family:
        family.extend(children.get(member, ()))
    return family


def _pss_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        try:
            match = _PSS.search((_PROC / str(pid) / "smaps_rollup").read_text())
        except PermissionError:  # an agent conceals itself
            return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
        return int(match[1]) * 1024 if match else 0
    return 0
