"""The rows that begin with an event, of the tables that are folded in memory; see trials.py. Pure."""

import msgspec

from services.tracker import rows
from services.tracker.bulk import Row
from services.tracker.statement import At
from shared.events import CheckpointSaved, Event, GPUAllocated, TrialRequested


def begun(event: Event, at: At) -> tuple[str, Row] | None:
    """Return the row that begins with an event, and its table's name."""
    match event:
        case TrialRequested():
            return "trials", _trial(event, at)
        case GPUAllocated():
            return "allocations", _allocation(event, at)
        case CheckpointSaved():
            return "checkpoints", _checkpoint(event, at)
        case _:
            return None


def _trial(event: TrialRequested, at: At) -> Row:
    return {
        "id": event.trial_id,
        "experiment_id": event.experiment_id,
        "index": event.index,
        "state": "WAITING",
        "hyperparameters": rows.json(event.hyperparameters),
        "seed": event.seed,
        "slots": event.slots,
        "pool_id": event.pool_id,
        "origin": rows.text(event.origin),
        "requested_at": at.time,
        "requested_seq": at.seq,
        "waiting_since": at.time,
        "seq": at.seq,
    }


def _allocation(event: GPUAllocated, at: At) -> Row:
    return {
        "id": event.allocation_id,
        "trial_id": event.trial_id,
        "experiment_id": event.experiment_id,
        "pool_id": event.pool_id,
        "epoch": event.epoch,
        "members": rows.json(msgspec.to_builtins(event.members)),
        "allocated_at": at.time,
        "allocated_seq": at.seq,
        "seq": at.seq,
    }


def _checkpoint(event: CheckpointSaved, at: At) -> Row:
    """A checkpoint of a void epoch is whole all the same, and a trial may resume from it: it is listed."""
    return {
        "id": event.checkpoint_id,
        "trial_id": event.trial_id,
        "experiment_id": event.experiment_id,
        "epoch": event.epoch,
        "step": event.step,
        "saved_at": at.time,
        "world_size": event.world_size,
        "zero_stage": event.zero_stage,
        "size_bytes": sum(file.size_bytes for file in event.files),
        "files": rows.json(msgspec.to_builtins(event.files)),
        "saved_seq": at.seq,
        "seq": at.seq,
    }
