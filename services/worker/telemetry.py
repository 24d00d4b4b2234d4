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

import pynvml

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
    lines = [line.split(":", 1) for line in dev.read_text().splitlines() if ":" in line]
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
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) in wanted:
            ticks += sum(int(field) for field in fields[11:15])  # with those of children that have ended
            pages += int(fields[21])
    return Usage(cpu_s=ticks / _TICKS_PER_S, memory_bytes=pages * _PAGE_BYTES)


class Gpus:
    """The GPUs of some slots."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = [slot for slot in slots if slot.kind is SlotKind.CUDA]

    def read(self) -> dict[str, float]:
        """Return what each GPU does now, by its number; nothing where there are none, or the driver does not answer."""
        found: dict[str, float] = {}
        if not self._slots:
            return found
        try:
            pynvml.nvmlInit()
            try:
                for slot in self._slots:
                    found |= {f"gpu{slot.number}_{name}": value for name, value in gpu(slot.number).items()}
            finally:
                pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return found
        return found


def gpu(number: int) -> Mapping[str, float]:
    """Return what one GPU does now; NVML is initialised. Raises NVMLError when it is gone."""
    device = pynvml.nvmlDeviceGetHandleByIndex(number)
    used = pynvml.nvmlDeviceGetUtilizationRates(device)
    found = {
        "utilization": used.gpu / 100,
        "memory_used_bytes": float(pynvml.nvmlDeviceGetMemoryInfo(device).used),
        "temperature_c": float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU)),
    }
    optional: dict[str, Callable[[], float]] = {
        "power_w": lambda: pynvml.nvmlDeviceGetPowerUsage(device) / 1000,
        "pcie_received_bytes_per_s": lambda: _pcie(device, pynvml.NVML_PCIE_UTIL_RX_BYTES),
        "pcie_sent_bytes_per_s": lambda: _pcie(device, pynvml.NVML_PCIE_UTIL_TX_BYTES),
        "ecc_errors": lambda: pynvml.nvmlDeviceGetTotalEccErrors(
            device, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        ),
    }
    for name, ask in optional.items():
        try:
            found[name] = float(ask())
        except pynvml.NVMLError_NotSupported:
            continue
    return found


def _pcie(device: object, counter: int) -> float:
    return float(pynvml.nvmlDeviceGetPcieThroughput(device, counter) * 1000)
