"""From the experiment file's `deepspeed` section and the script's own settings to a DeepSpeed config.

Both may use the short form, DeepSpeed's own keys, or both together:

    zero_stage: 0..3             zero_optimization.stage
    offload: none | cpu          zero_optimization.offload_optimizer (and offload_param in stage 3)
    micro_batch_size: n          train_micro_batch_size_per_gpu
    precision: fp32|fp16|bf16    fp16.enabled, bf16.enabled

gradient_accumulation_steps and gradient_clipping are called the same in both.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trainmaster.sdk.merge import merge

SHORT_FORM = ("zero_stage", "offload", "micro_batch_size", "precision")
DEFAULT_MICRO_BATCH_SIZE = 32
BATCH_SIZES = ("train_batch_size", "train_micro_batch_size_per_gpu")


def engine_config(section: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's DeepSpeed config; where both say something, in either form, `config`, the script's, wins."""
    merged = expand(section, config)
    if not any(name in merged for name in BATCH_SIZES):
        merged["train_micro_batch_size_per_gpu"] = DEFAULT_MICRO_BATCH_SIZE
    merged.setdefault("zero_allow_untested_optimizer", True)  # else SGD is refused
    if "optimizer" in merged:
        merged["optimizer"] = _without_compiler(merged["optimizer"])
    return merged


def expand(section: Mapping[str, Any], config: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return `section` with `config` on top, the short form written out in DeepSpeed's keys; what is None is not said.

    The short forms are put together before they are written out: what `offload` means depends on the stage.
    """
    short: dict[str, Any] = {}
    full: list[dict[str, Any]] = []
    for part in (section, config):
        said = {name: value for name, value in part.items() if value is not None}
        full.append({name: value for name, value in said.items() if name not in SHORT_FORM})
        short |= {name: value for name, value in said.items() if name in SHORT_FORM}
    of_section, of_config = full
    lower = merge(of_section, _written_out(short))
    if "offload" in short:
        lower = merge(lower, _offload(short["offload"], merge(lower, of_config).get("zero_optimization", {})))
    return merge(lower, of_config)


def _written_out(short: Mapping[str, Any]) -> dict[str, Any]:
    """Return the short form in DeepSpeed's keys, but for offload."""
    expanded: dict[str, Any] = {}
    if "zero_stage" in short:
        expanded["zero_optimization"] = {"stage": short["zero_stage"]}
    if "micro_batch_size" in short:
        expanded["train_micro_batch_size_per_gpu"] = short["micro_batch_size"]
    if "precision" in short:
        expanded |= {name: {"enabled": short["precision"] == name} for name in ("fp16", "bf16")}
    return expanded


def _offload(device: str, zero: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `offload` means for a `zero_optimization` section; to nowhere only where something is offloaded."""
    places = ["offload_optimizer", "offload_param"] if zero.get("stage") == 3 else ["offload_optimizer"]
    if device == "none":
        places = [place for place in ("offload_optimizer", "offload_param") if place in zero]
    return {"zero_optimization": {place: {"device": device} for place in places}} if places else {}


def _without_compiler(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """Let Adam be torch's own, unless told otherwise: DeepSpeed's is compiled on first use, which needs a toolchain."""
    if str(optimizer.get("type", "")).lower() not in ("adam", "adamw"):
        return dict(optimizer)
    return merge({"params": {"torch_adam": True}}, optimizer)
