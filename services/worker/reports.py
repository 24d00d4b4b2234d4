"""What the ranks of one allocation say, turned into events, metrics and uploads."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from services.worker import launch
from services.worker.allocation import Allocation
from services.worker.endings import Bye
from services.worker.facilities import Facilities
from services.worker.frames import (
    CheckpointWritten,
    Farewell,
    Frame,
    Hello,
    Malformed,
    Progress,
    TrainingMetrics,
    Validation,
    split_finite,
)
from services.worker.uploads import Uploads, Written
from shared.events import MetricReported, Outcome
from shared.volume import MetricBatch, MetricPoint


class Reports:
    """Deals with frames. `started` is done when TrialStarted is on the log, with its sequence."""

    def __init__(
        self,
        facilities: Facilities,
        allocation: Allocation,
        *,
        checkpoint_directory: Path,
        started: "asyncio.Future[int]",
        uploads: Uploads,
        say: Callable[[str], None],
        fail: Callable[[str], None],
    ) -> None:
        self._facilities = facilities
        self._allocation = allocation
        self._first_rank = launch.place_of(allocation, facilities.agent_id, facilities.slots).first_rank
        self._checkpoint_directory = checkpoint_directory
        self._started = started
        self._uploads = uploads
        self._say = say
        self._fail = fail
        self.byes: dict[int, Bye] = {}
        self._unsaid: set[asyncio.Future[int]] = set()  # validations that are not on the log yet
        self.step = 0  # the newest that a rank has said to be at

    async def handle(self, rank: int, frame: Frame) -> None:
        """Deal with one frame. Raises Malformed when this rank has no business to say it."""
        match frame:
            case Progress():
                self.step = max(self.step, frame.step)
            case TrainingMetrics() if rank == 0:
                self._report_training(frame)
            case Validation() if rank == 0:
                await self._report_validation(frame)
            case CheckpointWritten() if rank == self._first_rank:
                await self._save(frame)
            case Farewell():
                self.byes[rank] = Bye(outcome=Outcome(frame.outcome), step=frame.step)
            case Hello() | TrainingMetrics() | Validation() | CheckpointWritten():
                raise Malformed(f"rank {rank} may not report {type(frame).__name__}")

    def _report_training(self, frame: TrainingMetrics) -> None:
        points = []
        for step, time_s, metrics in frame.points:
            finite, _ = self._finite(step, metrics)
            if finite:
                points.append(MetricPoint(step=step, time=_time(time_s), values=finite))
        if points:
            allocation = self._allocation
            self._facilities.metrics.add(
                MetricBatch(
                    trial_id=allocation.trial_id,
                    experiment_id=allocation.experiment_id,
                    epoch=allocation.epoch,
                    points=tuple(points),
                    group=frame.group,
                )
            )

    async def _report_validation(self, frame: Validation) -> None:
        if not frame.metrics:
            return
        metrics, others = self._finite(frame.step, frame.metrics)
        allocation = self._allocation
        spoken = allocation.spoken_by(self._facilities.agent_id)
        event = MetricReported(**spoken, step=frame.step, metrics=metrics, not_finite=tuple(others))
        cause = await asyncio.shield(self._started)
        stored = await self._facilities.outbox.put(event, causes=(cause,), correlation=allocation.experiment_id)
        self._unsaid.add(stored)
        stored.add_done_callback(self._note_reported)

    def _note_reported(self, stored: "asyncio.Future[int]") -> None:
        self._unsaid.discard(stored)
        if not stored.cancelled() and (error := stored.exception()):
            self._fail(f"a validation cannot be reported: {error}")

    async def _save(self, frame: CheckpointWritten) -> None:
        try:
            directory = Path(frame.directory).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, or links in a circle
            self._fail(f"the checkpoint of step {frame.step} lies in {frame.directory!a}, which is no path: {error}")
            return
        root = self._checkpoint_directory.resolve()
        if directory == root or not directory.is_relative_to(root):
            self._fail(f"the checkpoint of step {frame.step} lies in {directory}; it must be a directory inside {root}")
            return
        written = Written(
            step=frame.step,
            directory=directory,
            zero_stage=frame.zero_stage,
            cause=await asyncio.shield(self._started),
        )
        await self._uploads.add(written, frozenset(self._unsaid))

    def _finite(self, step: int, metrics: dict[str, float]) -> tuple[dict[str, float], list[str]]:
        finite, others = split_finite(metrics)
        if others:
            self._say(f"at step {step} these metrics are not finite and were left out: {', '.join(others)}")
        return finite, others


def _time(time_s: float) -> datetime:
    """Return a rank's time, or ours if it makes no sense."""
    try:
        return datetime.fromtimestamp(time_s, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
