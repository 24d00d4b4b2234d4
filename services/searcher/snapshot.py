"""How the searcher's memory goes into a snapshot: an experiment's configuration goes as its file."""

from pathlib import Path
from typing import Any

from services.searcher.state import State
from shared.config import Experiment, load_experiment
from shared.decisions import Memory
from shared.snapshots import Snapshots


class SearcherSnapshots(Snapshots[Memory[State]]):
    """See Snapshots."""

    def load(self, stream: str) -> tuple[int, Memory[State]] | None:
        """See Snapshots.load. Every search is due: the questions that were being computed died with the process."""
        found = super().load(stream)
        if found:
            state = found[1].state
            state.due |= dict.fromkeys([*state.searches, *state.unreadable])
        return found


def snapshots(directory: Path | None, name: str) -> SearcherSnapshots:
    """Return the searcher's snapshots in a directory."""
    packages = ("shared", "services.searcher")
    return SearcherSnapshots(directory, name, Memory[State], packages, enc_hook=_encode, dec_hook=_decode)


def _encode(value: Any) -> Any:
    if isinstance(value, Experiment):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"a snapshot cannot hold a {type(value).__name__}")


def _decode(kind: type, value: Any) -> Any:
    if kind is Experiment:
        return load_experiment(value)
    raise NotImplementedError(f"a snapshot cannot hold a {kind.__name__}")
