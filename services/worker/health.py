"""Which of this agent's GPUs are fit for work, and what the log has yet to be told of it. Pure.

What the driver says now is compared with what the log has: said once, taken back once. When an administrator enables a
slot, the fault that it had is excused: it is said again only when it has become another, or more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.events import SlotFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the driver says of a GPU's health: `uncorrectable` since it was loaded, `xids` since this agent began."""

    uncorrectable: int = 0
    has_remapping_failed: bool = False
    xids: tuple[int, ...] = ()
    unreachable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a GPU."""

    kind: SlotFault
    detail: str


def fault_in(reading: Reading) -> Fault | None:
    """Return the gravest fault that a reading shows, None for a healthy GPU."""
    if reading.unreachable is not None:
        return Fault(kind=SlotFault.GONE, detail=reading.unreachable)
    if reading.has_remapping_failed:
        return Fault(kind=SlotFault.REMAPPING, detail="the GPU has to be replaced")
    if reading.uncorrectable:
        return Fault(kind=SlotFault.ECC, detail=f"{reading.uncorrectable} since the driver was loaded")
    if reading.xids:
        return Fault(kind=SlotFault.XID, detail=f"XID {reading.xids[-1]}, the error number {len(reading.xids)}")
    return None


def news(
    readings: Mapping[int, Reading], told: Mapping[int, Fault], excused: Mapping[int, Fault]
) -> dict[int, Fault | None]:
    """Return by slot what the log has to be told: a fault, or None for a slot that is healthy again.

    `told` are the faults that the log has, `excused` those that an administrator has enabled a slot in spite of.
    """
    missing: dict[int, Fault | None] = {}
    for slot, reading in sorted(readings.items()):
        fault, known = fault_in(reading), told.get(slot)
        if fault is None:
            if known is not None:
                missing[slot] = None
        elif (known is None or known.kind is not fault.kind) and fault != excused.get(slot):
            missing[slot] = fault
    return missing
