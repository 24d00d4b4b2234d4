"""How much processor time a platform's processes have used, as the kernel counts it."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(module: str, data: Path) -> float:
    """Return the processor time, in s, of all processes of a platform that run a module."""
    return sum(_cpu_s(process) for process in _running(module, data))


def _running(module: str, data: Path) -> list[Path]:
    """The processes whose supervisor was started with this data directory."""
    found: list[Path] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, parent = (process / "cmdline").read_bytes().split(b"\0"), _field(process, 1)
            if module.encode() in command and str(data).encode() in (Path("/proc") / parent / "cmdline").read_bytes():
                found.append(process)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return found


def _cpu_s(process: Path) -> float:
    return (int(_field(process, 11)) + int(_field(process, 12))) / _TICKS


def _field(process: Path, number: int) -> str:
    """Return a field of stat, counted from the state, which comes after the name in parentheses."""
    return (process / "stat").read_text().rpartition(") ")[2].split()[number]
