"""How trials use DeepSpeed: our short form, or a whole DeepSpeed configuration handed on as it is."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from shared.config.section import Section

#: What a DeepSpeed configuration of its own holds at least one of.
FULL_KEYS = frozenset(
    {
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "gradient_clipping",
        "optimizer",
        "scheduler",
        "zero_optimization",
        "fp16",
        "bf16",
    }
)


class DeepSpeedShort(Section):
    """The short form: everything else has sensible values."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = 1
    offload: Literal["none", "cpu"] = "none"
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None


def is_full(value: object) -> bool:
    """Say whether a `deepspeed` section is DeepSpeed's own configuration."""
    return isinstance(value, dict) and not FULL_KEYS.isdisjoint(value)


def _tag(value: object) -> str:
    return "<full>" if is_full(value) else "<the short form>"


DeepSpeed = Annotated[
    Annotated[DeepSpeedShort, Tag("<the short form>")] | Annotated[dict[str, JsonValue], Tag("<full>")],
    Discriminator(_tag),
]
