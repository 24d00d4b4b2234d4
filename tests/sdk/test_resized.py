"""A trial goes on with another number of ranks, and its loss curve does not notice."""

from pathlib import Path

import pytest

from tests.sdk.conftest import Start
from tests.sdk.fake_agent import FakeAgent, Frame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NUM_STEPS = 30
GLOBAL_BATCH = 8


def trial_of(
    directory: Path, num_ranks: int, zero_stage: int, resume: Frame | None = None, until: int = NUM_STEPS
) -> FakeAgent:
    directory.mkdir()
    return FakeAgent(
        directory,
        world_size=num_ranks,
        local_world_size=num_ranks,
        max_length={"unit": "batches", "count": until},
        deepspeed={
            "train_batch_size": GLOBAL_BATCH,
            "gradient_accumulation_steps": 1,
            "zero_optimization": {"stage": zero_stage},
        },
        resume=resume,
    )


def resume_from(checkpoint: Frame, num_ranks: int) -> Frame:
    directory, step = checkpoint["directory"], checkpoint["step"]
    return {"checkpoint_id": f"checkpoint-{step}", "step": step, "directory": directory, "world_size": num_ranks}


def curve(agent: FakeAgent) -> dict[int, float]:
    return {frame["step"]: frame["metrics"]["loss"] for frame in agent.of_type("validation")}


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_the_loss_goes_on_from_two_ranks_to_one_to_four(
    start_gang: Start, scripts: Path, tmp_path: Path, zero_stage: int
) -> None:
    with trial_of(tmp_path / "whole", 2, zero_stage) as whole:
        gang = start_gang(scripts / "resized.py", whole, 2)
        assert gang.join() == [0, 0], gang.output
    expected = curve(whole)
    with trial_of(tmp_path / "one", 1, zero_stage, resume_from(whole.of_type("checkpoint")[0], 2), until=20) as one:
        gang = start_gang(scripts / "resized.py", one, 1)
        assert gang.join() == [0], gang.output
    with trial_of(tmp_path / "four", 4, zero_stage, resume_from(one.of_type("checkpoint")[-1], 1)) as four:
        gang = start_gang(scripts / "resized.py", four, 4)
        assert gang.join() == [0] * 4, gang.output
    assert sorted(curve(one)) == list(range(11, 21)) and sorted(curve(four)) == list(range(21, NUM_STEPS + 1))
    # The same batches, the same mean gradient; only the order of additions differs.
    assert curve(one) | curve(four) == pytest.approx(
        {step: loss for step, loss in expected.items() if step > 10}, rel=1e-4
    )
    begun, ended = (sum(expected[step] for step in range(first, first + 10)) for first in (1, NUM_STEPS - 9))
    assert ended < 0.7 * begun, "the test would not see a resume that starts anew"
