"""What the machine and a trial's processes use, as the kernel and a real trial say."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from services.worker import meter, telemetry
from services.worker.telemetry import Gpus, Machine
from shared.events import Outcome, Slot, SlotKind, TrialExited
from tests.support.eventually import eventually
from tests.worker.cluster import Cluster
from tests.worker.scripts import script
from tests.worker.test_stalls import with_sdk


def test_the_kernels_counters_are_read(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 300 9000 7 10 20 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0\n")
    assert telemetry.cpu_counters(stat) == {"cpu_cores": 450 / os.sysconf("SC_CLK_TCK")}
    dev = tmp_path / "dev"
    dev.write_text(
        "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n"
        "    lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n  eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n"
        "  eth1:5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n"
    )
    assert telemetry.network_counters(dev) == {"network_received_bytes": 15.0, "network_sent_bytes": 26.0}
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\nHugePages_Total: 0\n")
    assert telemetry.memory(meminfo) == {"memory_used_bytes": 600 * 1024, "memory_total_bytes": 1000 * 1024}


def test_a_process_group_is_counted_with_its_children(tmp_path: Path) -> None:
    program = "import os, sys, time\nos.fork()\nx = bytearray(50_000_000)\nos.write(1, b'up\\n')\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        assert leader.stdout is not None and leader.stdin is not None
        assert [leader.stdout.readline() for _ in range(2)] == [b"up\n"] * 2
        used = telemetry.usage([leader.pid])
        leader.stdin.close()
    assert used.memory_bytes > 100_000_000 and used.cpu_s > 0
    assert telemetry.usage([]) == telemetry.Usage(cpu_s=0, memory_bytes=0)


NAMES = [b"python", "длинное-имя".encode()[:15], b"\xff", b"a) R (b", b"\n"]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_process_may_be_any_bytes(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "7").mkdir()
    times, pages = b"10 20 30 40", b"9"  # utime stime cutime cstime, and rss
    after_name = b"S 1 7 7 0 -1 0 0 0 0 0 " + times + b" 20 0 1 0 100 1000 " + pages + b" 0\n"
    (tmp_path / "7/stat").write_bytes(b"7 (" + name + b") " + after_name)
    used = telemetry.usage([7], tmp_path)
    assert used.cpu_s == 100 / os.sysconf("SC_CLK_TCK")
    assert used.memory_bytes == 9 * os.sysconf("SC_PAGE_SIZE")


def test_the_name_of_an_interface_may_be_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "dev").write_bytes(b"  eth\xff: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n")
    counters = telemetry.network_counters(tmp_path / "dev")
    assert counters == {"network_received_bytes": 10.0, "network_sent_bytes": 20.0}


def test_the_machine_tells_rates_from_the_second_reading_on(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first, second = machine.read(), machine.read()
    assert 0 < first["memory_used_bytes"] < first["memory_total_bytes"] and first["disk_free_bytes"] > 0
    assert "cpu_cores" not in first
    assert second["cpu_cores"] >= 0 and second["network_sent_bytes_per_s"] >= 0


def test_slots_that_are_no_gpus_have_no_figures_of_gpus() -> None:
    assert Gpus([Slot(number=0, kind=SlotKind.CPU, name="cpu")]).read() == {}
    gone = Slot(number=999, kind=SlotKind.CUDA, name="gone", device_uuid="GPU-gone")
    assert Gpus([gone]).read() == {}


async def test_a_trial_reports_what_it_uses_and_where_its_time_goes(
    tm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "FIRST_S", 0.5)
    body = """
import time
with tm.trial() as trial:
    trial.global_batch_size = 8
    for step in trial.steps():
        time.sleep(0.25)
"""
    await tm.submit(with_sdk(body))
    began_at = time.monotonic()
    async with tm.agent():
        await tm.allocate()
        found = await eventually(lambda: tm.batches("profiling") and tm.batches("system"), timeout_s=20)
        took_s = time.monotonic() - began_at
    (point, *_) = found[0].points
    assert point.values.keys() == {"cpu_cores", "memory_bytes"} and point.values["memory_bytes"] > 1_000_000
    figures = tm.batches("profiling")[0].points[0].values
    assert 0.25 <= figures["step_time_s"] < took_s / 2, "it has been through two steps and more"
    assert figures["samples_per_s"] == pytest.approx(8 / figures["step_time_s"])
    assert figures["data_wait_share"] == 0.0


async def test_a_trial_goes_on_when_what_it_uses_cannot_be_read(
    tm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, num_tried, told = telemetry.usage, 0, tmp_path / "told"

    def fail_at_first(group_ids: Iterable[int]) -> telemetry.Usage:
        nonlocal num_tried
        num_tried += 1
        if num_tried <= 3:
            raise ValueError("nobody can read that")
        return read(group_ids)

    monkeypatch.setattr(telemetry, "usage", fail_at_first)
    monkeypatch.setattr(meter, "FIRST_S", 0.01)
    monkeypatch.setattr(meter, "INTERVAL_S", 0.01)
    body = f"""
while not os.path.exists("{told}"):
    time.sleep(0.01)
say("bye", outcome="completed", step=1)
"""
    await tm.submit(script(body))
    async with tm.agent():
        await tm.allocate()
        await eventually(lambda: tm.batches("system"))
        told.touch()
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.COMPLETED
    said = "what the trial uses could not be read, so its metrics of the group system have gaps: "
    about = [line for line in tm.lines if "could not be read" in line[2]]
    assert about == [(0, "agent", said + "ValueError('nobody can read that')")]
