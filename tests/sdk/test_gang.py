"""A trial of two real ranks: it stops at one step on both, and goes on as if it had never stopped."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.conftest import Start
from tests.sdk.fake_agent import FakeAgent, Frame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NUM_STEPS = 40


def trial_of_two(directory: Path, zero_stage: int, resume: Frame | None = None) -> FakeAgent:
    directory.mkdir()
    welcome: dict[str, Any] = {
        "world_size": 2,
        "local_world_size": 2,
        "max_length": {"unit": "batches", "count": NUM_STEPS},
        "deepspeed": {"zero_stage": zero_stage, "micro_batch_size": 7},
        "resume": resume,
    }
    return FakeAgent(directory, **welcome)


def resume_from(checkpoint: Frame) -> Frame:
    return {"checkpoint_id": "checkpoint-1", "step": checkpoint["step"], "directory": checkpoint["directory"]}


def curve(agent: FakeAgent) -> dict[int, float]:
    return {frame["step"]: frame["metrics"]["loss"] for frame in agent.of_type("validation")}


def kill(agent: FakeAgent) -> None:
    """End both ranks in the middle of whatever they do."""
    for rank in range(2):
        (hello,) = agent.of_type("hello", rank)
        os.kill(hello["pid"], signal.SIGKILL)


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_a_trial_continues_its_loss_curve_exactly(
    start_gang: Start, scripts: Path, tmp_path: Path, zero_stage: int
) -> None:
    script = scripts / "curve.py"
    with trial_of_two(tmp_path / "whole", zero_stage) as whole:
        gang = start_gang(script, whole, 2)
        assert gang.join() == [0, 0], gang.output
    assert sorted(curve(whole)) == list(range(1, NUM_STEPS + 1))

    held = {"HELD_AT": "24", "GATE": str(tmp_path / "gate")}  # no rank is ahead of what happens to it
    os.mkfifo(held["GATE"])
    with trial_of_two(tmp_path / "killed", zero_stage) as killed:
        killed.react = lambda rank, frame: (
            kill(killed) if frame["type"] == "validation" and frame["step"] == 23 else None
        )
        assert start_gang(script, killed, 2, **held).join() == [-signal.SIGKILL] * 2
    (at_ten,) = killed.of_type("checkpoint")
    assert (at_ten["step"], at_ten["zero_stage"]) == (10, zero_stage)
    assert curve(killed) == {step: loss for step, loss in curve(whole).items() if step <= max(curve(killed))}

    with trial_of_two(tmp_path / "resumed", zero_stage, resume_from(at_ten)) as resumed:
        gang = start_gang(script, resumed, 2)
        assert gang.join() == [0, 0], gang.output
    assert curve(resumed) == {step: loss for step, loss in curve(whole).items() if step > 10}
    assert "restored {'note': 'ten'}" in gang.output

    with trial_of_two(tmp_path / "stopped", zero_stage) as stopped:
        gang = start_gang(script, stopped, 2, **held)
        stopped.wait_for("validation", count=17)
        stopped.stop()
        opened = os.open(held["GATE"], os.O_RDWR)
        assert gang.join() == [0, 0], gang.output
        os.close(opened)
    farewells = stopped.wait_for("bye", rank=0) + stopped.wait_for("bye", rank=1)
    last_step = farewells[0]["step"]
    assert farewells == [{"type": "bye", "outcome": "preempted", "step": last_step}] * 2
    assert 17 <= last_step < NUM_STEPS
    at_stop = stopped.of_type("checkpoint")[-1]
    assert at_stop["step"] == last_step
    assert stopped.of_type("checkpoint", rank=1) == []

    with trial_of_two(tmp_path / "continued", zero_stage, resume_from(at_stop)) as continued:
        gang = start_gang(script, continued, 2)
        assert gang.join() == [0, 0], gang.output
    assert curve(stopped) | curve(continued) == curve(whole)
    assert not curve(stopped).keys() & curve(continued).keys()


def test_while_a_checkpoint_is_being_stored_no_rank_waits_in_a_collective_operation(
    start_gang: Start, scripts: Path, tmp_path: Path
) -> None:
    with FakeAgent(tmp_path, world_size=2, local_world_size=2, max_length={"unit": "batches", "count": 3}) as agent:
        agent.stores_at_once = False
        gang = start_gang(scripts / "stored.py", agent, 2)
        agent.wait_for("checkpoint")
        held = threading.Event()
        assert not held.wait(3)  # three times as long as the operations would wait
        agent.stores_at_once = True
        agent.send(0, {"type": "checkpoint_stored", "step": 1})
        assert gang.join() == [0, 0], gang.output
    assert [frame["step"] for frame in agent.of_type("checkpoint")] == [1, 2, 3]
