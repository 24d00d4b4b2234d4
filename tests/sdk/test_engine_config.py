"""The DeepSpeed config that comes of the experiment file and the script."""

from typing import Any

import pytest

from trainmaster.sdk.engine_config import engine_config, expand

ADAMW = {"type": "AdamW", "params": {"lr": 0.1}}


@pytest.mark.parametrize(
    ("section", "expanded"),
    [
        ({}, {}),
        ({"zero_stage": 0}, {"zero_optimization": {"stage": 0}}),
        ({"zero_stage": 1, "offload": "none"}, {"zero_optimization": {"stage": 1}}),
        (
            {"zero_stage": 2, "offload": "cpu"},
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
        ),
        (
            {"zero_stage": 3, "offload": "cpu"},
            {
                "zero_optimization": {
                    "stage": 3,
                    "offload_optimizer": {"device": "cpu"},
                    "offload_param": {"device": "cpu"},
                }
            },
        ),
        ({"micro_batch_size": 4}, {"train_micro_batch_size_per_gpu": 4}),
        ({"precision": "fp32"}, {"fp16": {"enabled": False}, "bf16": {"enabled": False}}),
        ({"precision": "bf16"}, {"fp16": {"enabled": False}, "bf16": {"enabled": True}}),
        (
            {"gradient_clipping": 1.0, "gradient_accumulation_steps": None, "zero_stage": None},
            {"gradient_clipping": 1.0},
        ),
        (
            {"zero_stage": 2, "zero_optimization": {"overlap_comm": True}},
            {"zero_optimization": {"overlap_comm": True, "stage": 2}},
        ),
    ],
)
def test_the_short_form_is_written_out(section: dict[str, Any], expanded: dict[str, Any]) -> None:
    assert expand(section) == expanded


def test_the_script_wins_and_nested_settings_are_merged() -> None:
    section = {"zero_stage": 1, "micro_batch_size": 8, "optimizer": {"type": "AdamW", "params": {"lr": 1, "eps": 2}}}
    config = engine_config(section, {"micro_batch_size": 16, "optimizer": {"params": {"lr": 3}}})
    assert config == {
        "zero_optimization": {"stage": 1},
        "train_micro_batch_size_per_gpu": 16,
        "zero_allow_untested_optimizer": True,
        "optimizer": {"type": "AdamW", "params": {"lr": 3, "eps": 2, "torch_adam": True}},
    }


@pytest.mark.parametrize(
    ("section", "config", "zero"),
    [
        ({"zero_stage": 3, "offload": "cpu"}, {"offload": "none"}, {"stage": 3}),
        (
            {"zero_stage": 3},
            {"offload": "cpu"},
            {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}},
        ),
        ({"zero_stage": 3, "offload": "cpu"}, {"zero_stage": 2}, {"stage": 2, "offload_optimizer": {"device": "cpu"}}),
        (
            {"zero_stage": 3, "offload": "cpu"},
            {"zero_optimization": {"stage": 2}},
            {"stage": 2, "offload_optimizer": {"device": "cpu"}},
        ),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
            {"offload": "none"},
            {"stage": 2, "offload_optimizer": {"device": "none"}},
        ),
        (
            {"zero_stage": 2, "offload": "cpu"},
            {"zero_optimization": {"offload_optimizer": {"device": "none"}}},
            {"stage": 2, "offload_optimizer": {"device": "none"}},
        ),
    ],
)
def test_the_script_wins_for_offload_in_either_form(
    section: dict[str, Any], config: dict[str, Any], zero: dict[str, Any]
) -> None:
    assert engine_config(section, config)["zero_optimization"] == zero


def test_a_batch_size_is_only_made_up_when_there_is_none() -> None:
    assert engine_config({}, {})["train_micro_batch_size_per_gpu"] == 32
    assert "train_micro_batch_size_per_gpu" not in engine_config({"train_batch_size": 64}, {})


def test_adam_needs_no_compiler_unless_asked() -> None:
    assert engine_config({}, {"optimizer": ADAMW})["optimizer"]["params"] == {"lr": 0.1, "torch_adam": True}
    fused = {"type": "AdamW", "params": {"torch_adam": False}}
    assert engine_config({}, {"optimizer": fused})["optimizer"] == fused
    assert engine_config({}, {"optimizer": {"type": "SGD"}})["optimizer"] == {"type": "SGD"}
