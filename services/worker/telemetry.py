"""What the machine, a trial's processes and its GPUs use: read from /proc and NVML, a few times a minute.

`cpu_cores` 1.5 is one and a half cores busy, rates are since the reading before. What a kernel or a driver does not
tell is left out.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.worker import nvml
from shared.events import Slot, SlotKind

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LOOPBACK = "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What processes have used so far, and what they hold."""

    cpu_s: float
    memory_bytes: int


class Machine:
    """Readings of the whole machine; a rate needs two."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._before: dict[str, float] = {}
        self._read_at = time.monotonic()

    def read(self) -> dict[str, float]:
        """Return what the machine uses now."""
        counters = cpu_counters(_PROC / "stat") | network_counters(_PROC / "net/dev")
        now = time.monotonic()
        passed_s = now - self._read_at
        rates = {
            f"{name}_per_s" if name.endswith("bytes") else name: (value - self._before[name]) / passed_s
            for name, value in counters.items()
            if name in self._before and passed_s > 0
        }
        self._before, self._read_at = counters, now
        disk = shutil.disk_usage(self._directory)
        free = {"disk_free_bytes": float(disk.free), "disk_total_bytes": float(disk.total)}
        return rates | memory(_PROC / "meminfo") | free


def cpu_counters(stat: Path) -> dict[str, float]:
    """Return the seconds that the machine's cores were busy so far."""
    name, *fields = stat.read_text().splitlines()[0].split()
    assert name == "cpu", "the first line is all cores"
    user, nice, system, _, _, irq, softirq, *_ = map(int, fields)
    return {"cpu_cores": (user + nice + system + irq + softirq) / _TICKS_PER_S}


def network_counters(dev: Path) -> dict[str, float]:
    """Return the bytes that went over all interfaces but the loopback so far."""
    lines = [line.split(":", 1) for line in dev.read_text(errors="replace").splitlines() if ":" in line]
    counters = [values.split() for name, values in lines if name.strip() != _LOOPBACK]
    return {
        "network_received_bytes": float(sum(int(fields[0]) for fields in counters)),
        "network_sent_bytes": float(sum(int(fields[8]) for fields in counters)),
    }


def memory(meminfo: Path) -> dict[str, float]:
    """Return the machine's memory in bytes."""
    lines = [line.partition(":") for line in meminfo.read_text().splitlines()]
    fields = {name: int(value.split()[0]) * 1024.0 for name, _, value in lines}
    total, available = fields["MemTotal"], fields["MemAvailable"]
    return {"memory_used_bytes": total - available, "memory_total_bytes": total}


def usage(group_ids: Iterable[int], proc: Path = _PROC) -> Usage:
    """Return what the processes of these groups use together. Memory that they share is counted once in each."""
    wanted, ticks, pages = set(group_ids), 0, 0
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()  # the name before it is any bytes at all
        except OSError:  # it has just ended
            continue
        if int(fields[2]) in wanted:
            ticks += sum(int(field) for field in fields[11:15])  # with those of children that have ended
            pages += int(fields[21])
    return Usage(cpu_s=ticks / _TICKS_PER_S, memory_bytes=pages * _PAGE_BYTES)


class Gpus:
    """The GPUs of some slots."""

    def __init__(self, slots: Sequence[Slot], clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = [slot for slot in slots if slot.kind is SlotKind.CUDA]
        self._clock = clock
        self._counted: dict[str, tuple[float, float]] = {}  # a counter, and when it stood there

    def read(self, ask: Callable[[Slot], Mapping[str, float]] = nvml.figures) -> dict[str, float]:
        """Return what each GPU does now, by its number; nothing where there are none, or the driver does not answer."""
        found: dict[str, float] = {}
        for slot in self._slots:
            try:
                answers = ask(slot)
            except nvml.NoDriver:
                continue
            for name, value in answers.items():
                named = f"gpu{slot.number}_{name}"
                if name.startswith("nvlink_"):
                    found |= self._rate(named, value)
                else:
                    found[named] = value
        return found

    def _rate(self, name: str, count: float) -> dict[str, float]:
        """Return how fast a counter grows, from the second reading on."""
        now = self._clock()
        before, self._counted[name] = self._counted.get(name), (count, now)
        if before is None or now <= before[1]:
            return {}
        return {f"{name}_per_s": max(0.0, count - before[0]) / (now - before[1])}
