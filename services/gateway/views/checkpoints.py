"""Checkpoints and their files."""

from datetime import datetime
from enum import StrEnum

from services.gateway.views.view import View


class File(View, frozen=True, kw_only=True):
    """One file of a checkpoint."""

    path: str
    size_bytes: int
    sha256: str


class CheckpointState(StrEnum):
    """Whether trials can resume from a checkpoint."""

    ACTIVE = "ACTIVE"
    DAMAGED = "DAMAGED"  # files are missing, or not those that were saved
    DELETING = "DELETING"
    DELETED = "DELETED"


class Checkpoint(View, frozen=True, kw_only=True):
    """A saved state of a trial, whole in the object store."""

    id: str
    trial_id: str
    experiment_id: str
    step: int
    saved_at: datetime
    world_size: int
    zero_stage: int | None
    size_bytes: int
    files: list[File]
    state: CheckpointState
    reason: str | None  # of its state


class CheckpointPage(View, frozen=True, kw_only=True):
    """Checkpoints in the order they were saved."""

    items: list[Checkpoint]
    next_cursor: str | None
