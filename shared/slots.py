"""What an agent may be told to offer: `auto`, `cuda` or `cpu:N`."""

import re

MAX_CPU_SLOTS = 1024

_CPU = re.compile(r"cpu:([0-9]{1,9})")


def num_cpu_slots(spec: str) -> int | None:
    """Return N of `cpu:N`, None for `auto` and `cuda`. Raises ValueError, whose text says what must be written."""
    if spec in ("auto", "cuda"):
        return None
    match = _CPU.fullmatch(spec)
    if match is None:
        raise ValueError("it must be auto, cuda or cpu:N, e.g. cpu:2")
    count = int(match[1])
    if not 1 <= count <= MAX_CPU_SLOTS:
        raise ValueError(f"N must be between 1 and {MAX_CPU_SLOTS}")
    return count
