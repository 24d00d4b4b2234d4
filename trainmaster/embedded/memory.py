"""How much memory each program takes: proportional set size, so that shared pages count once in all."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def pss_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Return each program's memory with that of all its descendants; 0 when it is gone or not ours to see."""
    children = _children()
    return {name: sum(map(_pss_of, _family(pid, children))) for name, pid in pids.items()}


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            found.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return found


def _family(pid: int, children: Mapping[int, list[int]]) -> list[int]:
    family = [pid]
    for member in family:
        family.extend(children.get(member, ()))
    return family


def _pss_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        match = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        return int(match[1]) * 1024 if match else 0
    return 0
