"""How the searcher's memory goes into a snapshot: an experiment's configuration goes as its file."""

from pathlib import Path
from typing import Any

from services.searcher.state import State
from shared.config import Experiment, load_experiment
from shared.decisions import Memory
from shared.snapshots import Snapshots


def snapshots(directory: Path | None, name: str) -> Snapshots[Memory[State]]:
    """Return the searcher's snapshots in a directory."""
    packages = ("shared", "services.searcher")
    return Snapshots(directory, name, Memory[State], packages, enc_hook=_encode, dec_hook=_decode)


def _encode(value: Any) -> Any:
    if isinstance(value, Experiment):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"a snapshot cannot hold a {type(value).__name__}")


def _decode(kind: type, value: Any) -> Any:
    if kind is Experiment:
        return load_experiment(value)
    raise NotImplementedError(f"a snapshot cannot hold a {kind.__name__}")
