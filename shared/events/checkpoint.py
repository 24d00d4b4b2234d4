"""Events of a checkpoint's end: why it goes, and that it has gone (gateway, which holds the keys of the store)."""

from typing import ClassVar

from shared.events.event import Event
from shared.ids import CheckpointId, ExperimentId, TrialId


class CheckpointEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a checkpoint."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "checkpoint"
    aggregate_field: ClassVar[str] = "checkpoint_id"

    checkpoint_id: CheckpointId
    trial_id: TrialId
    experiment_id: ExperimentId


class CheckpointDeletionRequested(CheckpointEvent, frozen=True, kw_only=True):
    """A user, or the retention policy of an experiment that has ended, wants a checkpoint gone, or it was never
    completed and its trial ended a day ago. No trial resumes from it any more, whether its files are still there or
    not."""

    reason: str


class CheckpointDeleted(CheckpointEvent, frozen=True, kw_only=True):
    """No file of a checkpoint is in the object store any more; they had `size_bytes`."""

    size_bytes: int
