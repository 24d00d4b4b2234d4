"""Which slots this machine offers: its GPUs as NVML tells, or a number of CPU slots."""

import os
import platform
from pathlib import Path

from services.worker import nvml
from shared.events import Slot, SlotKind
from shared.slots import num_cpu_slots


def discover(spec: str) -> tuple[Slot, ...]:
    """Return the slots that TM_SLOTS asks for. Exits with a clear message when it cannot be had.

    `cpu:N` is N CPU slots, `cuda` all GPUs, `auto` all GPUs if there are any and else one CPU slot a core.
    """
    try:
        count = num_cpu_slots(spec)
    except ValueError as error:
        raise SystemExit(f"TM_SLOTS is {spec!r}; {error}") from error
    if count is not None:
        return _cpu_slots(count)
    try:
        slots = nvml.find()
    except nvml.NoDriver as error:
        if spec == "cuda":
            raise SystemExit(
                f"TM_SLOTS is cuda, but NVML finds no GPU: {error}. Install the driver or use cpu:N"
            ) from error
        slots = ()
    if spec == "cuda" and not slots:
        raise SystemExit("TM_SLOTS is cuda, but this machine has no GPU; use cpu:N")
    return slots or _cpu_slots(len(os.sched_getaffinity(0)))


def _cpu_slots(count: int) -> tuple[Slot, ...]:
    name = _cpu_name()
    return tuple(Slot(number=number, kind=SlotKind.CPU, name=name) for number in range(count))


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
