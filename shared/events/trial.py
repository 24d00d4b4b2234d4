"""Events of a trial's life on its machines (worker). All carry the epoch: a stale one is void."""

from enum import StrEnum
from typing import ClassVar

import msgspec

from shared.events.event import Event
from shared.ids import AgentId, AllocationId, CheckpointId, ExperimentId, TrialId
from shared.subjects import agent_writer


class Outcome(StrEnum):
    """How the processes of a trial ended, as far as the machine can tell."""

    COMPLETED = "completed"
    FAILED = "failed"
    PREEMPTED = "preempted"
    INTERRUPTED = "interrupted"  # the machine's fault, not the trial's: not counted as a restart


class FailureCause(StrEnum):
    """A cause of failure that the machine recognises."""

    HOST_MEMORY = "out of host memory"
    GPU_MEMORY = "out of GPU memory"
    STALLED = "stalled"


class CheckpointFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a checkpoint; `path` is relative to the checkpoint."""

    path: str
    size_bytes: int
    sha256: str


class TrialEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a trial."""

    aggregate: ClassVar[str] = "trial"
    aggregate_field: ClassVar[str] = "trial_id"

    trial_id: TrialId
    experiment_id: ExperimentId
    allocation_id: AllocationId
    epoch: int
    agent_id: AgentId

    @property
    def rightful_writer(self) -> str:
        """The agent that it names."""
        return agent_writer(self.agent_id)


class RendezvousOpened(TrialEvent, frozen=True, kw_only=True):
    """The chief agent hosts the gang's rendezvous store; the other agents' ranks may start."""

    address: str
    port: int


class TrialStarted(TrialEvent, frozen=True, kw_only=True):
    """The ranks on the chief agent were started; `warm` if forked from resident processes."""

    world_size: int
    warm: bool
    resumed_from: CheckpointId | None


class MetricReported(TrialEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Rank 0 validated at `step`. Values are finite; metrics that were NaN or infinite are only named: at a rung they
    are the worst there can be."""

    step: int
    metrics: dict[str, float]
    not_finite: tuple[str, ...] = ()


class CheckpointShardUploaded(TrialEvent, frozen=True, kw_only=True):
    """An agent that is not the chief has stored its ranks' files of a checkpoint."""

    checkpoint_id: CheckpointId
    step: int
    files: tuple[CheckpointFile, ...]


class CheckpointSaved(TrialEvent, frozen=True, kw_only=True):
    """A whole checkpoint, manifest included, is in the object store."""

    checkpoint_id: CheckpointId
    step: int
    world_size: int
    zero_stage: int | None
    files: tuple[CheckpointFile, ...]


class CheckpointRefused(TrialEvent, frozen=True, kw_only=True):
    """A trial was to resume from a checkpoint, but its files are missing or are not those that were saved (by their
    SHA-256); no trial resumes from it any more, and this one goes on from the one before."""

    checkpoint_id: CheckpointId
    step: int
    reason: str


class GangMemberExited(TrialEvent, frozen=True, kw_only=True, omit_defaults=True):
    """All ranks on an agent that is not the chief have ended. `rank` is the one whose failure was the root cause."""

    outcome: Outcome
    exit_code: int | None
    error: str | None
    rank: int | None = None
    cause: FailureCause | None = None


class TrialPreempted(TrialEvent, frozen=True, kw_only=True):
    """Every rank of the gang stopped because it was asked to; the trial resumes from its newest checkpoint."""

    step: int | None


class TrialExited(TrialEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Every rank of the gang has ended by itself. `error` is the root cause's traceback or last output, `rank` the one
    that failed first, `failed_agent_id` where; `cause` is the kind of failure, if the machine recognises it."""

    outcome: Outcome
    exit_code: int | None
    error: str | None
    rank: int | None = None
    failed_agent_id: AgentId | None = None
    cause: FailureCause | None = None
