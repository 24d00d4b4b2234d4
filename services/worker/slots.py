"""Which slots this machine offers: its GPUs as NVML tells, or a number of CPU slots."""

import os
import platform
import re
from pathlib import Path

import pynvml

from shared.events import Slot, SlotKind

MAX_CPU_SLOTS = 1024

_CPU = re.compile(r"cpu:([0-9]{1,4})")


def discover(spec: str) -> tuple[Slot, ...]:
    """Return the slots that TM_SLOTS asks for. Exits with a clear message when it cannot be had.

    `cpu:N` is N CPU slots, `cuda` all GPUs, `auto` all GPUs if there are any and else one CPU slot a core.
    """
    if match := _CPU.fullmatch(spec):
        return _cpu_slots(int(match[1]))
    if spec not in ("auto", "cuda"):
        raise SystemExit(f"TM_SLOTS is {spec!r}; it must be auto, cuda or cpu:N, e.g. cpu:2")
    try:
        slots = _cuda_slots()
    except pynvml.NVMLError as error:
        if spec == "cuda":
            raise SystemExit(
                f"TM_SLOTS is cuda, but NVML finds no GPU: {error}. Install the driver or use cpu:N"
            ) from error
        slots = ()
    if spec == "cuda" and not slots:
        raise SystemExit("TM_SLOTS is cuda, but this machine has no GPU; use cpu:N")
    return slots or _cpu_slots(len(os.sched_getaffinity(0)))


def _cpu_slots(count: int) -> tuple[Slot, ...]:
    if not 1 <= count <= MAX_CPU_SLOTS:
        raise SystemExit(f"TM_SLOTS is cpu:{count}; N must be between 1 and {MAX_CPU_SLOTS}")
    name = _cpu_name()
    return tuple(Slot(number=number, kind=SlotKind.CPU, name=name) for number in range(count))


def _cuda_slots() -> tuple[Slot, ...]:
    pynvml.nvmlInit()
    try:
        return tuple(_cuda_slot(number) for number in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def _cuda_slot(number: int) -> Slot:
    device = pynvml.nvmlDeviceGetHandleByIndex(number)
    return Slot(
        number=number,
        kind=SlotKind.CUDA,
        name=_text(pynvml.nvmlDeviceGetName(device)),
        device_uuid=_text(pynvml.nvmlDeviceGetUUID(device)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(device).total),
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
