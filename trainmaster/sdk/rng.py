"""Seeding, saving and restoring the random generators of Python, numpy and torch.

Only what the script has imported is touched: a script that does not use torch does not get it imported.
"""

import hashlib
import random
import sys
from importlib import import_module
from typing import Any

NUMPY_SEEDS = 2**32


def seed(value: int) -> None:
    """Seed every generator in use."""
    random.seed(value)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(value % NUMPY_SEEDS)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(value)


def seed_anew(value: int, step: int, rank: int) -> None:
    """Seed every generator in use where there is none to go on with: a rank that was not there before `step`."""
    digest = hashlib.blake2b(f"{value}:{step}:{rank}".encode(), digest_size=7).digest()
    seed(int.from_bytes(digest))


def capture() -> dict[str, Any]:
    """Return the state of every generator in use, in plain types and tensors."""
    states: dict[str, Any] = {"python": random.getstate()}
    if numpy := sys.modules.get("numpy"):
        name, keys, *rest = numpy.random.get_state()
        states["numpy"] = (name, keys.tolist(), *rest)
    if torch := sys.modules.get("torch"):
        states["torch"] = torch.get_rng_state()
        if torch.cuda.is_initialized():
            states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore(states: dict[str, Any]) -> None:
    """Put every generator back to where `capture` found it."""
    random.setstate(states["python"])
    if "numpy" in states:
        import_module("numpy").random.set_state(states["numpy"])
    if "torch" in states:
        import_module("torch").set_rng_state(states["torch"])
    if "cuda" in states:
        import_module("torch").cuda.set_rng_state(states["cuda"])
