"""How trials use DeepSpeed: our short form, or a whole DeepSpeed configuration handed on as it is."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from shared.config.section import Section

#: Of these a whole DeepSpeed configuration holds at least one, and the short form none.
FULL_KEYS = frozenset(
    {
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
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
    precision: Literal["fp32", "fp16", "bf16"] | None = None
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] | None = None
    gradient_clipping: Annotated[float, Field(ge=0)] | None = None


#: What only the short form knows; the other keys are called the same in both.
SHORT_KEYS = frozenset({"zero_stage", "offload", "micro_batch_size", "precision"})


def is_full(value: object) -> bool:
    """Say whether a `deepspeed` section is DeepSpeed's own configuration."""
    return isinstance(value, dict) and not FULL_KEYS.isdisjoint(value)


def _tag(value: object) -> str:
    return "<full>" if is_full(value) else "<the short form>"


DeepSpeed = Annotated[
    Annotated[DeepSpeedShort, Tag("<the short form>")] | Annotated[dict[str, JsonValue], Tag("<full>")],
    Discriminator(_tag),
]
