"""GPUs that become unfit for work: what the log is told, and when. The driver is played; see also test_nvml.py."""

import pytest

from services.worker import service
from services.worker.health import Fault, Reading, fault_in, news
from shared.events import AgentEnabled, SlotFault, SlotRecovered, SlotUnhealthy
from tests.support.eventually import eventually
from tests.worker.cluster import AGENT, Cluster

ECC = Fault(kind=SlotFault.ECC, detail="2 since the driver was loaded")


@pytest.mark.parametrize(
    ("reading", "kind"),
    [
        (Reading(), None),
        (Reading(uncorrectable=2), SlotFault.ECC),
        (Reading(uncorrectable=2, has_remapping_failed=True), SlotFault.REMAPPING),
        (Reading(xids=(48, 79)), SlotFault.XID),
        (Reading(uncorrectable=1, unreachable="GPU is lost"), SlotFault.GONE),
    ],
)
def test_the_gravest_fault_is_told(reading: Reading, kind: SlotFault | None) -> None:
    fault = fault_in(reading)
    assert (fault and fault.kind) is kind


def test_a_fault_is_told_once_and_taken_back_once() -> None:
    sick, well = {0: Reading(uncorrectable=2), 1: Reading()}, {0: Reading(), 1: Reading()}
    assert news(sick, {}, {}) == {0: ECC}
    assert news(sick, {0: ECC}, {}) == {}
    assert news({0: Reading(uncorrectable=9)}, {0: ECC}, {}) == {}
    assert news({0: Reading(unreachable="lost")}, {0: ECC}, {}) == {0: Fault(kind=SlotFault.GONE, detail="lost")}
    assert news(well, {0: ECC}, {}) == {0: None}
    assert news(well, {}, {}) == {}


def test_what_an_administrator_has_excused_is_told_again_when_it_is_more() -> None:
    assert news({0: Reading(uncorrectable=2)}, {}, {0: ECC}) == {}
    assert news({0: Reading(uncorrectable=3)}, {}, {0: ECC}).keys() == {0}


async def test_the_log_follows_the_driver_across_a_restart(tm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HEALTH_S", 0.02)
    readings = {0: Reading(), 1: Reading()}
    async with tm.agent(read_health=lambda: dict(readings)):
        await tm.joined(AGENT)
        readings[1] = Reading(xids=(79,))
        told = await tm.wait_for(SlotUnhealthy)
        assert (told.slot, told.fault, told.detail) == (1, SlotFault.XID, "XID 79, the error number 1")
    readings[1] = Reading(uncorrectable=1)
    async with tm.agent(read_health=lambda: dict(readings)):
        assert (await tm.wait_for(SlotUnhealthy, 2)).fault is SlotFault.ECC
        readings[1] = Reading()
        assert (await tm.wait_for(SlotRecovered)).slot == 1
        readings[1] = Reading(uncorrectable=4)
        await tm.wait_for(SlotUnhealthy, 3)
        await tm.say("gateway", AgentEnabled(agent_id=AGENT, slots=(1,)))
        readings[0] = Reading(unreachable="lost")  # the next word is about another slot: the excuse holds
        assert (await tm.wait_for(SlotUnhealthy, 4)).slot == 0
        readings[1] = Reading(uncorrectable=5)
        assert (await tm.wait_for(SlotUnhealthy, 5)).slot == 1
    await eventually(lambda: len(tm.events(SlotUnhealthy)) == 5)
