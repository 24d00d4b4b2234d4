"""Writing and reading one rank's files of a checkpoint.

    state/…           a DeepSpeed engine's own files, every rank its part
    state.pt          instead of them: the state_dicts of plain torch objects, written by rank 0
    rng-rank-<n>.pt   the random generators of each rank

What is trained may be a DeepSpeed engine, any object with state_dict and load_state_dict (a module, an optimizer), or a
dict of such objects, e.g. {"model": model, "optimizer": optimizer}.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainmaster.sdk import rng

TAG = "state"
PLAIN_FILE = "state.pt"


def make_empty(directory: Path) -> None:
    """Create `directory`, without what a killed process may have left there half-written."""
    import shutil

    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)


def write(engine: Any, directory: Path, *, rank: int, step: int, extra_state: dict[str, Any]) -> None:
    """Write this rank's files into `directory`, which exists."""
    import torch

    user_state = {"step": step, "extra_state": extra_state}
    if _is_deepspeed(engine):
        engine.save_checkpoint(str(directory), tag=TAG, client_state=user_state, save_latest=False)
    elif rank == 0:
        torch.save(user_state | {"states": _states(engine)}, directory / PLAIN_FILE)
    torch.save(rng.capture(), directory / _rng_file(rank))


def read(engine: Any, directory: Path, *, rank: int) -> dict[str, Any]:
    """Load the checkpoint into `engine`, restore the random generators, and return the user's extra state."""
    import torch

    if _is_deepspeed(engine):
        path, user_state = engine.load_checkpoint(str(directory), tag=TAG)
        if path is None:
            raise FileNotFoundError(f"DeepSpeed finds no checkpoint in {directory}")
    else:
        # The trial's own checkpoint, its files verified by the agent; extra state may hold any type.
        user_state = torch.load(directory / PLAIN_FILE, map_location="cpu", weights_only=False)
        _load_states(engine, user_state["states"])
    rng.restore(torch.load(directory / _rng_file(rank), weights_only=True))
    extra_state: dict[str, Any] = user_state["extra_state"]
    return extra_state


def zero_stage(engine: Any) -> int | None:
    """Return the ZeRO stage of a DeepSpeed engine, None for anything else."""
    return int(engine.zero_optimization_stage()) if _is_deepspeed(engine) else None


def _is_deepspeed(engine: Any) -> bool:
    return hasattr(engine, "save_checkpoint") and hasattr(engine, "load_checkpoint")


def _states(engine: Any) -> Any:
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
    else:
        engine.load_state_dict(states)


def _rng_file(rank: int) -> str:
    return f"rng-rank-{rank}.pt"
