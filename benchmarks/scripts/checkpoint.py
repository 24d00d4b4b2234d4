"""What benchmarks/checkpoint.py runs as a trial: saves a large state and says how long its loop stood still."""

import json
import os
import sys
import time
from pathlib import Path

import torch

import trainmaster as tm

NUM_FILES = 4  # as many ranks would write


class State:
    """Written as one file a part, as the ranks of a DeepSpeed engine would."""

    def __init__(self, num_bytes: int) -> None:
        self._parts = [torch.randn(num_bytes // 4 // NUM_FILES) for _ in range(NUM_FILES)]

    def save_checkpoint(self, directory: str, tag: str, client_state: object, *, save_latest: bool) -> None:
        """Write the parts."""
        (Path(directory) / tag).mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(self._parts):
            torch.save(part, Path(directory) / tag / f"part-{number}.pt")

    def load_checkpoint(self, directory: str, tag: str) -> None:
        """Nothing here resumes."""
        raise NotImplementedError

    def zero_optimization_stage(self) -> int:
        """No stage."""
        return 0


def copy_s(state: State, directory: Path) -> float:
    """Return how long it takes to write the state, and remove it."""
    started_at = time.monotonic()
    state.save_checkpoint(str(directory), "state", {}, save_latest=False)
    took_s = time.monotonic() - started_at
    for path in (directory / "state").iterdir():
        path.unlink()
    return took_s


with tm.trial() as trial:
    state = State(trial.hyperparameters.megabytes * 1_000_000)
    for run in range(trial.hyperparameters.runs):
        plain_s = copy_s(state, Path(os.environ["TMPDIR"]) / f"copy-{run}")
        began_at = time.monotonic()
        trial.checkpoint(state, 2 * run + 1)
        stalled_s = time.monotonic() - began_at
        trial.checkpoint(None, 2 * run + 2)  # waits until the one before is stored: what blocking would take
        blocking_s = time.monotonic() - began_at
        sys.stdout.write(json.dumps({"copy_s": plain_s, "stalled_s": stalled_s, "blocking_s": blocking_s}) + "\n")
