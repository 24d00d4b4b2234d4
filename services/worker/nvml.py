"""What NVIDIA's driver says of the GPUs of this machine. The only file that imports pynvml; all calls block.

NVML never touches CUDA: it may be asked in a process that forks, and beside whoever trains.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pynvml

from services.worker.health import Reading
from shared.events import Slot, SlotKind

NVLINK_UNIT_BYTES = 1024
_ALL_LINKS = 0xFFFFFFFF
_EVENT_WAIT_MS = 1

#: The driver tells these of mistakes of a program (Xid Errors, NVIDIA documentation); no GPU is broken for them.
PROGRAMS_MISTAKES = frozenset({13, 31, 43, 45, 68, 109})


class NoDriver(Exception):
    """There is no driver, or it does not answer; the message says what it said."""


def find() -> tuple[Slot, ...]:
    """Return a slot for each GPU that can be used. Raises NoDriver."""
    with _nvml():
        found = [_found(number) for number in range(pynvml.nvmlDeviceGetCount())]
    return tuple(slot for slot in found if slot is not None)


def figures(slot: Slot) -> Mapping[str, float]:
    """Return what a GPU does now, and in nvlink_…_bytes what it ever did, as far as it can tell. Raises NoDriver."""
    with _nvml():
        device = _device(slot)
        used = pynvml.nvmlDeviceGetUtilizationRates(device)
        found = {
            "utilization": used.gpu / 100,
            "memory_used_bytes": float(pynvml.nvmlDeviceGetMemoryInfo(device).used),
            "temperature_c": float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU)),
        }
        optional: dict[str, Callable[[], float | None]] = {
            "power_w": lambda: pynvml.nvmlDeviceGetPowerUsage(device) / 1000,
            "pcie_received_bytes_per_s": lambda: _pcie(device, pynvml.NVML_PCIE_UTIL_RX_BYTES),
            "pcie_sent_bytes_per_s": lambda: _pcie(device, pynvml.NVML_PCIE_UTIL_TX_BYTES),
            "nvlink_received_bytes": lambda: _nvlink(device, pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX),
            "nvlink_sent_bytes": lambda: _nvlink(device, pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX),
            "ecc_errors": lambda: _uncorrectable(device),
        }
        for name, ask in optional.items():
            if (value := _answer(ask)) is not None:
                found[name] = float(value)
    return found


class Health:
    """Looks after the GPUs of some slots, and hears of errors as the driver meets them."""

    def __init__(self, slots: tuple[Slot, ...]) -> None:
        self._slots = [slot for slot in slots if slot.kind is SlotKind.CUDA]
        self._xids: dict[str, tuple[int, ...]] = {}
        self._events: Any = None

    def read(self) -> dict[int, Reading]:
        """Return how each GPU is, by its slot's number; empty where there are none."""
        if not self._slots:
            return {}
        try:
            with _nvml():
                self._hear()
                return {slot.number: self._read(slot) for slot in self._slots}
        except NoDriver as error:
            return {slot.number: Reading(unreachable=str(error)) for slot in self._slots}

    def _read(self, slot: Slot) -> Reading:
        try:
            device = _device(slot)
            remapped = _answer(lambda: pynvml.nvmlDeviceGetRemappedRows(device))
            return Reading(
                uncorrectable=int(_answer(lambda: _uncorrectable(device)) or 0),
                has_remapping_failed=remapped is not None and bool(remapped[3]),
                xids=self._xids.get(slot.device_uuid or "", ()),
            )
        except pynvml.NVMLError as error:
            return Reading(unreachable=str(error))

    def _hear(self) -> None:
        """Take in the errors that came since the last time."""
        if self._events is None:
            pynvml.nvmlInit()  # for good: the events are gone with the last user
            self._events = pynvml.nvmlEventSetCreate()
            for slot in self._slots:
                _answer(partial(self._register, slot))
        while (event := self._next()) is not None:
            uuid, xid = _text(pynvml.nvmlDeviceGetUUID(event.device)), int(event.eventData)
            if xid not in PROGRAMS_MISTAKES:
                self._xids[uuid] = (*self._xids.get(uuid, ()), xid)

    def _register(self, slot: Slot) -> None:
        pynvml.nvmlDeviceRegisterEvents(_device(slot), pynvml.nvmlEventTypeXidCriticalError, self._events)

    def _next(self) -> Any:
        try:
            return pynvml.nvmlEventSetWait_v2(self._events, _EVENT_WAIT_MS)
        except pynvml.NVMLError:  # none came in time; a GPU that is lost, its reading tells
            return None


class _nvml:  # noqa: N801 # used as a `with` keyword
    """NVML is initialised inside. Raises NoDriver for whatever it says."""

    def __enter__(self) -> None:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise NoDriver(str(error)) from error

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        pynvml.nvmlShutdown()
        if isinstance(error, pynvml.NVMLError):
            raise NoDriver(str(error)) from error


def _found(number: int) -> Slot | None:
    """Return a GPU as a slot, None if it is there but cannot be reached."""
    try:
        device = pynvml.nvmlDeviceGetHandleByIndex(number)
        return Slot(
            number=number,
            kind=SlotKind.CUDA,
            name=_text(pynvml.nvmlDeviceGetName(device)),
            device_uuid=_text(pynvml.nvmlDeviceGetUUID(device)),
            memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(device).total),
        )
    except pynvml.NVMLError:
        return None


def _device(slot: Slot) -> Any:
    """By UUID: numbers shift when a GPU falls off the bus."""
    return pynvml.nvmlDeviceGetHandleByUUID(slot.device_uuid)


def _answer(ask: Callable[[], Any]) -> Any:
    """Return what the driver answers, None if this GPU does not have it."""
    try:
        return ask()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None


def _pcie(device: Any, counter: int) -> float:
    return float(pynvml.nvmlDeviceGetPcieThroughput(device, counter) * 1000)


def _nvlink(device: Any, field: int) -> float | None:
    (value,) = pynvml.nvmlDeviceGetFieldValues(device, [(field, _ALL_LINKS)])
    return float(value.value.ullVal * NVLINK_UNIT_BYTES) if value.nvmlReturn == pynvml.NVML_SUCCESS else None


def _uncorrectable(device: Any) -> int:
    kind = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
    return int(pynvml.nvmlDeviceGetTotalEccErrors(device, kind, pynvml.NVML_VOLATILE_ECC))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
