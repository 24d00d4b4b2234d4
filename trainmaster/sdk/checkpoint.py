"""Writing and reading one rank's files of a checkpoint.

    state/…           a DeepSpeed engine's own files, every rank its part
    state.pt          instead of them: the state_dicts of plain torch objects, written by rank 0
    state.pickle      instead of that, where torch is not in use
    rng-rank-<n>.…    the random generators of each rank

What is trained may be a DeepSpeed engine, any object with state_dict and load_state_dict (a module, an optimizer, one
of your own), a dict of such objects, e.g. {"model": model, "optimizer": optimizer}, or None: then there is only the
user's extra state. Reading trusts the files: they are the trial's own, and the agent has verified them.
"""

import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainmaster.sdk import rng

TAG = "state"
_PLAIN = "state"
_SUFFIXES = (".pt", ".pickle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where training stood when a checkpoint was written, besides what is trained."""

    step: int
    extra_state: dict[str, Any] = field(default_factory=dict)
    records: int | None = None
    """Records trained on so far, by all ranks, where that is known."""
    best: tuple[str, float] | None = None
    """The name and the best value so far of the metric that the search looks at."""


def make_empty(directory: Path) -> None:
    """Create `directory`, without what a killed process may have left there half-written."""
    import shutil

    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)


def write(engine: Any, directory: Path, *, rank: int, progress: Progress) -> None:
    """Write this rank's files into `directory`, which exists."""
    if is_deepspeed(engine):
        engine.save_checkpoint(str(directory), tag=TAG, client_state=_fields(progress), save_latest=False)
    elif rank == 0:
        _save(_fields(progress) | {"states": _states(engine)}, directory / _PLAIN)
    _save(rng.capture(), directory / _rng_file(rank))


def read(engine: Any, directory: Path, *, rank: int) -> Progress:
    """Load the checkpoint into `engine` and return where training stood."""
    if is_deepspeed(engine):
        path, stored = engine.load_checkpoint(str(directory), tag=TAG)
        if path is None:
            raise FileNotFoundError(f"DeepSpeed finds no checkpoint in {directory}")
    else:
        stored = _load(directory / _PLAIN)
        _load_states(engine, stored["states"])
    return Progress(**{name: stored[name] for name in Progress.__dataclass_fields__ if name in stored})


def holds_only_extra_state(directory: Path) -> bool:
    """Say whether nothing but extra state was saved."""
    is_plain = any(_exists(directory / _PLAIN, suffix) for suffix in _SUFFIXES)
    return is_plain and _load(directory / _PLAIN)["states"] is None


def restore_rng(directory: Path, *, rank: int) -> None:
    """Put this rank's random generators back to where the checkpoint was written."""
    rng.restore(_load(directory / _rng_file(rank)))


def zero_stage(engine: Any) -> int | None:
    """Return the ZeRO stage of a DeepSpeed engine, None for anything else."""
    return int(engine.zero_optimization_stage()) if is_deepspeed(engine) else None


def is_deepspeed(engine: Any) -> bool:
    """Say whether this is a DeepSpeed engine."""
    return hasattr(engine, "save_checkpoint") and hasattr(engine, "load_checkpoint")


def _fields(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in Progress.__dataclass_fields__}


def _states(engine: Any) -> Any:
    if engine is None:
        return None
    if isinstance(engine, Mapping):
        return {name: _states(part) for name, part in engine.items()}
    if not hasattr(engine, "state_dict"):
        raise TypeError(
            f"cannot checkpoint a {type(engine).__name__}: pass a DeepSpeed engine, an object with state_dict and "
            "load_state_dict, or a dict of such objects"
        )
    return engine.state_dict()


def _load_states(engine: Any, states: Any) -> None:
    if isinstance(engine, Mapping):
        for name, part in engine.items():
            _load_states(part, states[name])
    elif engine is not None:
        engine.load_state_dict(states)


def _save(value: Any, path: Path) -> None:
    if torch := sys.modules.get("torch"):
        torch.save(value, path.with_name(path.name + ".pt"))
    else:
        path.with_name(path.name + ".pickle").write_bytes(pickle.dumps(value))


def _load(path: Path) -> Any:
    found = next((path.with_name(path.name + suffix) for suffix in _SUFFIXES if _exists(path, suffix)), None)
    if found is None:
        raise FileNotFoundError(f"the checkpoint has no {path.name}.pt and no {path.name}.pickle")
    if found.suffix == ".pickle":
        return pickle.loads(found.read_bytes())  # noqa: S301 # the trial's own file, verified by the agent
    import torch

    return torch.load(found, map_location="cpu", weights_only=False)  # extra state may hold any type


def _exists(path: Path, suffix: str) -> bool:
    return path.with_name(path.name + suffix).exists()


def _rng_file(rank: int) -> str:
    return f"rng-rank-{rank}"
