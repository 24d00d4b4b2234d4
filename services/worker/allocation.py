"""What an agent may have to run: open trials, with their checkpoints, and the allocations that it is part of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.events import CheckpointFile, FailureCause, GangMember, Outcome, PreemptionReason
from shared.ids import AgentId, AllocationId, CheckpointId, ExperimentId, TrialId


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What an experiment runs."""

    config: Mapping[str, Any]
    code_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint in the object store."""

    checkpoint_id: CheckpointId
    epoch: int
    seq: int
    step: int
    world_size: int
    files: tuple[CheckpointFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An open trial: what was sampled for it, and what it can resume from, newest first."""

    index: int
    hyperparameters: Mapping[str, Any]
    seed: int
    checkpoints: tuple[Checkpoint, ...] = ()
    target: int | None = None  # how far to train, if not simply to the experiment's max_length


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """Where the ranks of a gang meet."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """The scheduler's wish that an allocation ends."""

    seq: int
    reason: PreemptionReason
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberExit:
    """How another agent's ranks ended; an outcome of None: the agent was lost."""

    agent_id: AgentId
    seq: int
    outcome: Outcome | None
    exit_code: int | None = None
    error: str | None = None
    rank: int | None = None
    cause: FailureCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Another agent's part of a checkpoint."""

    agent_id: AgentId
    step: int
    files: tuple[CheckpointFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A gang that this agent is part of. What is to run is pinned here, the same on all its agents."""

    allocation_id: AllocationId
    trial_id: TrialId
    experiment_id: ExperimentId
    epoch: int
    seq: int
    members: tuple[GangMember, ...]
    experiment: Experiment | None
    trial: Trial | None
    rendezvous: Rendezvous | None = None
    preemption: Preemption | None = None
    exits: tuple[MemberExit, ...] = ()
    shards: tuple[Shard, ...] = ()
    traceparent: str | None = None  # of the trace that led to it

    @property
    def chief(self) -> AgentId:
        """The agent that hosts rank 0 and speaks for the gang."""
        return self.members[0].agent_id

    @property
    def world_size(self) -> int:
        """How many ranks the whole gang has."""
        return max(1, sum(len(member.slots) for member in self.members))

    def spoken_by(self, agent_id: AgentId) -> dict[str, Any]:
        """Return the fields that all events of a trial have in common."""
        return {
            "trial_id": self.trial_id,
            "experiment_id": self.experiment_id,
            "allocation_id": self.allocation_id,
            "epoch": self.epoch,
            "agent_id": agent_id,
        }
