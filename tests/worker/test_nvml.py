"""What the driver's answers become. The driver's library is played at its own functions; the rest is real."""

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from services.worker import nvml
from services.worker.health import Reading
from services.worker.telemetry import Gpus
from shared.events import Slot, SlotKind

LOST = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
NOT_SUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
TIMEOUT = pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)


class Driver:
    """Two GPUs, by their numbers or the ends of their UUIDs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: set[int] = set()
        self.errors = {0: 0, 1: 0}
        self.events: list[Any] = []
        self.nvlink_kib = 0
        self.num_users = 0
        answers = {
            "nvmlInit": self.enter,
            "nvmlShutdown": self.leave,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": self.device,
            "nvmlDeviceGetHandleByUUID": lambda uuid: self.device(int(uuid[-1])),
            "nvmlDeviceGetName": lambda device: "NVIDIA H200",
            "nvmlDeviceGetUUID": lambda device: f"GPU-{device}",
            "nvmlDeviceGetMemoryInfo": lambda device: SimpleNamespace(total=100, used=25),
            "nvmlDeviceGetUtilizationRates": lambda device: SimpleNamespace(gpu=50),
            "nvmlDeviceGetTemperature": lambda device, kind: 60,
            "nvmlDeviceGetPowerUsage": lambda device: 700_000,
            "nvmlDeviceGetPcieThroughput": self.refuse,
            "nvmlDeviceGetFieldValues": lambda device, fields: [self.field(*field) for field in fields],
            "nvmlDeviceGetTotalEccErrors": lambda device, kind, since: self.errors[device],
            "nvmlDeviceGetRemappedRows": lambda device: (0, 0, 0, 0),
            "nvmlEventSetCreate": lambda: "events",
            "nvmlDeviceRegisterEvents": lambda device, kinds, events: None,
            "nvmlEventSetWait_v2": self.next_event,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)

    def enter(self) -> None:
        self.num_users += 1

    def leave(self) -> None:
        self.num_users -= 1

    def device(self, number: int) -> int:
        if number in self.lost:
            raise LOST
        return number

    def refuse(self, *_: Any) -> None:
        raise NOT_SUPPORTED

    def field(self, field: int, scope: int) -> SimpleNamespace:
        assert scope == 0xFFFFFFFF
        return SimpleNamespace(nvmlReturn=pynvml.NVML_SUCCESS, value=SimpleNamespace(ullVal=self.nvlink_kib))

    def next_event(self, events: str, timeout_ms: int) -> Any:
        if not self.events:
            raise TIMEOUT
        device, xid = self.events.pop(0)
        return SimpleNamespace(device=device, eventData=xid)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


def gpu(number: int) -> Slot:
    return Slot(number=number, kind=SlotKind.CUDA, name="NVIDIA H200", device_uuid=f"GPU-{number}", memory_bytes=100)


def test_gpus_that_are_lost_are_not_offered(driver: Driver) -> None:
    assert nvml.find() == (gpu(0), gpu(1))
    driver.lost.add(0)
    assert nvml.find() == (gpu(1),)
    assert driver.num_users == 0


def test_what_a_gpu_does_is_told_as_far_as_it_can_tell(driver: Driver) -> None:
    now = 10.0
    gpus = Gpus([gpu(1), Slot(number=2, kind=SlotKind.CPU, name="cpu")], clock=lambda: now)
    first = gpus.read()
    assert first == {
        "gpu1_utilization": 0.5, "gpu1_memory_used_bytes": 25.0, "gpu1_temperature_c": 60.0, "gpu1_power_w": 700.0,
        "gpu1_ecc_errors": 0.0,
    }  # fmt: skip
    now, driver.nvlink_kib = 12.0, 2000
    rates = {name: value for name, value in gpus.read().items() if name not in first}
    assert rates == {"gpu1_nvlink_received_bytes_per_s": 1_024_000.0, "gpu1_nvlink_sent_bytes_per_s": 1_024_000.0}
    driver.lost.add(1)
    assert gpus.read() == {}
    assert driver.num_users == 0


def test_errors_are_heard_unless_they_are_a_programs(driver: Driver) -> None:
    health = nvml.Health((gpu(0), gpu(1)))
    assert health.read() == {0: Reading(), 1: Reading()}
    driver.events = [(1, 31), (1, 79), (0, 13), (1, 48)]
    assert health.read() == {0: Reading(), 1: Reading(xids=(79, 48))}
    driver.errors[0] = 2
    driver.lost.add(1)
    readings = health.read()
    assert readings[0] == Reading(uncorrectable=2)
    assert readings[1].unreachable == str(LOST)
    driver.lost.clear()
    assert health.read()[1] == Reading(xids=(79, 48)), "it is heard for as long as the agent lives"


def test_a_driver_that_is_gone_takes_all_gpus_with_it(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    monkeypatch.setattr(pynvml, "nvmlInit", gone)
    readings = nvml.Health((gpu(0), gpu(1))).read()
    assert [reading.unreachable for reading in readings.values()] == ["Driver Not Loaded"] * 2
    assert nvml.Health((Slot(number=0, kind=SlotKind.CPU, name="cpu"),)).read() == {}
