"""From the experiment file's `deepspeed` section and the script's own settings to a DeepSpeed config.

Both may use the short form, DeepSpeed's own keys, or both together:

    zero_stage: 0..3             zero_optimization.stage
    offload: none | cpu          zero_optimization.offload_optimizer (and offload_param in stage 3)
    micro_batch_size: n          train_micro_batch_size_per_gpu
    precision: fp32|fp16|bf16    fp16.enabled, bf16.enabled

gradient_accumulation_steps and gradient_clipping are called the same in both.
"""

from collections.abc import Mapping
from typing import Any

from trainmaster.sdk.merge import merge

SHORT_FORM = ("zero_stage", "offload", "micro_batch_size", "precision")
DEFAULT_MICRO_BATCH_SIZE = 32
BATCH_SIZES = ("train_batch_size", "train_micro_batch_size_per_gpu")


def engine_config(section: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the DeepSpeed config of a trial; where both say something, `config`, the script's, wins."""
    merged = merge(expand(section), expand(config))
    if not any(name in merged for name in BATCH_SIZES):
        merged["train_micro_batch_size_per_gpu"] = DEFAULT_MICRO_BATCH_SIZE
    merged.setdefault("zero_allow_untested_optimizer", True)  # else SGD is refused
    if "optimizer" in merged:
        merged["optimizer"] = _without_compiler(merged["optimizer"])
    return merged


def expand(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return `section` with the short form written out in DeepSpeed's keys; what is None is not said."""
    said = {name: value for name, value in section.items() if value is not None}
    expanded = {name: value for name, value in said.items() if name not in SHORT_FORM}
    stage = said.get("zero_stage")
    if stage is not None:
        expanded = merge(expanded, {"zero_optimization": {"stage": stage}})
    if said.get("offload") == "cpu":
        places = ("offload_optimizer", "offload_param") if stage == 3 else ("offload_optimizer",)
        expanded = merge(expanded, {"zero_optimization": {place: {"device": "cpu"} for place in places}})
    if "micro_batch_size" in said:
        expanded["train_micro_batch_size_per_gpu"] = said["micro_batch_size"]
    if "precision" in said:
        expanded = merge(expanded, {name: {"enabled": said["precision"] == name} for name in ("fp16", "bf16")})
    return expanded


def _without_compiler(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """Let Adam be torch's own, unless told otherwise: DeepSpeed's is compiled on first use, which needs a toolchain."""
    if str(optimizer.get("type", "")).lower() not in ("adam", "adamw"):
        return dict(optimizer)
    return merge({"params": {"torch_adam": True}}, optimizer)
