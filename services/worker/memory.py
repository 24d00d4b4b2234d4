"""What an agent remembers when it starts again: the open searches and trials, so that its start costs the same whatever
the log's length, which incarnation has its name, and how its GPUs were. Not its allocations: they were an earlier
incarnation's."""

import logging
from pathlib import Path

import msgspec

from services.worker.allocation import Experiment, Trial
from services.worker.health import Fault
from services.worker.state import State
from shared.ids import ExperimentId, TrialId
from shared.snapshots import Snapshots

SNAPSHOT_EVENTS = 10_000  # folded since the last one; folding as many again takes a fraction of a second

_log = logging.getLogger(__name__)


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds."""

    experiments: dict[ExperimentId, Experiment]
    trials: dict[TrialId, Trial]
    present: str | None
    faults: dict[int, Fault]
    excused: dict[int, Fault]


class Memory:
    """The snapshot of one agent's state in its work directory, of one stream."""

    def __init__(self, work_directory: Path, stream: str) -> None:
        self._snapshots = Snapshots(work_directory, "agent", Remembered, ("services.worker", "shared"))
        self._stream = stream
        self._position = 0

    def restore(self, state: State) -> int:
        """Fill the state of an incarnation that has not joined yet; return to which position, 0 for none."""
        if found := self._snapshots.load(self._stream):
            self._position, remembered = found
            state.experiments, state.trials = remembered.experiments, remembered.trials
            state.present = remembered.present
            state.faults, state.excused = remembered.faults, remembered.excused
            _log.info("folding goes on from a snapshot", extra={"position": self._position})
        return self._position

    def save(self, state: State, position: int, *, after: int = 1) -> None:
        """Keep the state, unless fewer than `after` events were folded since it was kept last."""
        if position >= self._position + after:
            remembered = Remembered(
                experiments=state.experiments,
                trials=state.trials,
                present=state.present,
                faults=state.faults,
                excused=state.excused,
            )
            self._snapshots.save(self._stream, position, remembered)
            self._position = position
