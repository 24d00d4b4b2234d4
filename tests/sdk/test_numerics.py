"""Precision, offloading, accumulation, clipping and schedules of the experiment file, on real ranks without a GPU."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.sdk.conftest import Start
from tests.sdk.fake_agent import FakeAgent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NUM_STEPS = 12
FP16 = pytest.param(
    "fp16",
    "float16",
    marks=pytest.mark.skipif(
        not torch.ops.mkldnn._is_mkldnn_fp16_supported(), reason="DeepSpeed has no fp16 on this processor"
    ),
)
ADAM = {"type": "Adam", "params": {"lr": 0.05}}


def train(start_gang: Start, scripts: Path, directory: Path, section: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Train on two ranks; return what the engine is, and the metrics of each step."""
    length = {"unit": "batches", "count": NUM_STEPS}
    with FakeAgent(directory, world_size=2, local_world_size=2, max_length=length, deepspeed=section) as agent:
        gang = start_gang(scripts / "numerics.py", agent, 2)
        assert gang.join() == [0, 0], gang.output
        validations = [frame["metrics"] for frame in agent.of_type("validation")]
    told = next(line for line in gang.output.splitlines() if line.startswith("{"))
    return json.loads(told), validations


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), FP16])
def test_every_stage_trains_in_every_precision(
    start_gang: Start, scripts: Path, tmp_path: Path, zero_stage: int, precision: str, dtype: str
) -> None:
    section = {"zero_stage": zero_stage, "precision": precision, "micro_batch_size": 16, "optimizer": ADAM}
    engine, validations = train(start_gang, scripts, tmp_path, section)
    assert (engine["stage"], engine["dtype"]) == (zero_stage, dtype)
    assert validations[-1]["loss"] < 0.8 * validations[0]["loss"]


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_offloading_accumulation_and_clipping_go_together(
    start_gang: Start, scripts: Path, tmp_path: Path, zero_stage: int
) -> None:
    section = {
        "zero_stage": zero_stage,
        "offload": "cpu",
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0.5,
        "optimizer": {"type": "SGD", "params": {"lr": 0.1}},
        "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 0.1, "warmup_num_steps": NUM_STEPS}},
    }
    engine, validations = train(start_gang, scripts, tmp_path, section)
    assert engine == {
        "stage": zero_stage, "dtype": "float32", "offloads": True, "accumulation": 2, "clipping": 0.5,
    }  # fmt: skip
    rates = [metrics["lr"] for metrics in validations]
    assert rates == sorted(set(rates)), "the schedule moves with every optimizer step"
