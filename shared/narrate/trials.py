"""Sentences of trials: from the request to the last checkpoint."""

from shared.events import (
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointRefused,
    CheckpointSaved,
    CheckpointShardUploaded,
    GangMemberExited,
    MetricReported,
    RendezvousOpened,
    TrialExited,
    TrialPreempted,
    TrialStarted,
)
from shared.narrate.sentence import sentence
from shared.narrate.words import counted


@sentence.register
def _(event: RendezvousOpened) -> str:
    return f"trial {event.trial_id}'s ranks meet at {event.address}:{event.port}"


@sentence.register
def _(event: TrialStarted) -> str:
    start = "warm" if event.warm else "cold"
    source = f" from checkpoint {event.resumed_from}" if event.resumed_from else ""
    ranks = counted(event.world_size, "rank")
    return f"trial {event.trial_id} started {start} on agent {event.agent_id} with {ranks}{source}"


@sentence.register
def _(event: MetricReported) -> str:
    told = [f"{name} {value:.6g}" for name, value in event.metrics.items()]
    metrics = ", ".join(told + [f"{name} not finite" for name in event.not_finite])
    return f"trial {event.trial_id} validated at step {event.step}: {metrics}"


@sentence.register
def _(event: CheckpointShardUploaded) -> str:
    return f"agent {event.agent_id} stored its part of checkpoint {event.checkpoint_id}"


@sentence.register
def _(event: CheckpointSaved) -> str:
    size_bytes = sum(file.size_bytes for file in event.files)
    return f"trial {event.trial_id} saved checkpoint {event.checkpoint_id} at step {event.step}, {size_bytes:,} bytes"


@sentence.register
def _(event: CheckpointRefused) -> str:
    return f"trial {event.trial_id} cannot resume from checkpoint {event.checkpoint_id}: {event.reason}"


@sentence.register
def _(event: CheckpointDeletionRequested) -> str:
    return f"checkpoint {event.checkpoint_id} is to be deleted: {event.reason}"


@sentence.register
def _(event: CheckpointDeleted) -> str:
    return f"checkpoint {event.checkpoint_id} was deleted, {event.size_bytes:,} bytes"


@sentence.register
def _(event: GangMemberExited) -> str:
    return f"trial {event.trial_id}'s ranks on agent {event.agent_id} ended: {event.outcome}{_detail(event.error)}"


@sentence.register
def _(event: TrialPreempted) -> str:
    if event.step is None:
        return f"trial {event.trial_id} was ended without having stopped by itself"
    return f"trial {event.trial_id} stopped as asked after step {event.step}"


@sentence.register
def _(event: TrialExited) -> str:
    code = "" if event.exit_code is None else f" with exit code {event.exit_code}"
    cause = f" ({event.cause})" if event.cause else ""
    return f"trial {event.trial_id} exited{code}: {event.outcome}{cause}{_detail(event.error)}"


def _detail(error: str | None) -> str:
    return f": {error.strip().splitlines()[-1]}" if error and error.strip() else ""
