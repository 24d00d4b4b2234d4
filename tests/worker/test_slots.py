"""What TM_SLOTS may say."""

import os
from pathlib import Path

import pytest

from services.worker.slots import discover
from shared.events import SlotKind


def test_cpu_slots_are_counted() -> None:
    slots = discover("cpu:3")
    assert [(slot.number, slot.kind) for slot in slots] == [(0, SlotKind.CPU), (1, SlotKind.CPU), (2, SlotKind.CPU)]


def test_auto_offers_something_everywhere() -> None:
    slots = discover("auto")
    assert slots
    if slots[0].kind is SlotKind.CPU:
        assert len(slots) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("spec", ["", "cpu", "cpu:", "cpu:-1", "cpu:0", "cpu:2000", "gpu", "cuda:1"])
def test_anything_else_is_refused_with_what_it_must_be(spec: str) -> None:
    with pytest.raises(SystemExit, match="TM_SLOTS is"):
        discover(spec)


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has a GPU")
def test_asking_for_gpus_where_there_are_none_is_said() -> None:
    with pytest.raises(SystemExit, match=r"TM_SLOTS is cuda, but .* use cpu:N"):
        discover("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not Path("/proc/driver/nvidia/version").exists(), reason="this machine has no GPU")
def test_gpus_are_named_by_their_uuid() -> None:
    for slot in discover("cuda"):
        assert slot.device_uuid is not None and slot.device_uuid.startswith("GPU-")
        assert slot.memory_bytes is not None and slot.memory_bytes > 0
