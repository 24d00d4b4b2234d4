"""Events of a resource pool: who holds which slots (scheduler)."""

from enum import StrEnum
from typing import ClassVar

import msgspec

from shared.events.administration import PoolPolicy
from shared.events.event import Event
from shared.events.grounds import Claim, Fit
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId


class ReleaseReason(StrEnum):
    """Why a trial's slots fell free."""

    EXITED = "exited"
    PREEMPTED = "preempted"
    INTERRUPTED = "interrupted"
    AGENT_LOST = "agent lost"


class PreemptionReason(StrEnum):
    """Why a running trial is asked to stop."""

    PAUSED = "experiment paused"
    CANCELED = "experiment canceled"
    AGENT_LOST = "agent of the gang lost"
    STOPPED = "stopped by the search"
    PRIORITY = "a more important trial needs its slots"
    FAIR_SHARE = "another job is short of its fair share"
    DRAINED = "the grace period of a drained agent is over"
    DISABLED = "an agent was disabled"
    POOL = "experiment moved to another resource pool"
    LEAVING = "an agent of the gang was told to end"


class GangMember(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's share of a gang: slot numbers on that agent, in rank order."""

    agent_id: AgentId
    incarnation: str
    slots: tuple[int, ...]


class PoolEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a resource pool."""

    writer: ClassVar[str] = "scheduler"
    aggregate: ClassVar[str] = "pool"
    aggregate_field: ClassVar[str] = "pool_id"

    pool_id: PoolId


class GPUAllocated(PoolEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The scheduler gave a trial its whole gang of slots; they are held until GPUReleased.

    The first member is the chief: it hosts rank 0 and speaks for the gang. A higher `epoch` of the same trial
    makes this allocation, and whatever its agents still say, void.
    """

    allocation_id: AllocationId
    trial_id: TrialId
    experiment_id: ExperimentId
    epoch: int
    members: tuple[GangMember, ...]
    fit: Fit | None = None


class PreemptionRequested(PoolEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A running trial must checkpoint, stop and give its slots back; `for_trial_id` names the trial that needs them, if
    it is one trial's need."""

    allocation_id: AllocationId
    trial_id: TrialId
    reason: PreemptionReason
    timeout_s: float
    for_trial_id: TrialId | None = None
    claim: Claim | None = None


class GPUReleased(PoolEvent, frozen=True, kw_only=True):
    """All slots of an allocation are free again.

    A trial goes back into the queue when it was preempted or interrupted, or an agent of its was lost. What is
    interrupted 10 times in a row without a validation, or loses its agents 20 times in a row without a validation or a
    checkpoint, is closed as failed.
    """

    allocation_id: AllocationId
    trial_id: TrialId
    epoch: int
    reason: ReleaseReason


class AgentLost(PoolEvent, frozen=True, kw_only=True):
    """An agent's incarnation was silent for too long (or was replaced); what ran there is void."""

    agent_id: AgentId
    incarnation: str
    silent_s: float


class AgentRefused(PoolEvent, frozen=True, kw_only=True):
    """An agent process may not join under this name, or not with these slots; `reason` says why, and it must end."""

    agent_id: AgentId
    incarnation: str
    reason: str


class DefaultPolicySet(Event, frozen=True, kw_only=True):
    """From here on pools that nobody configured are scheduled by this policy: the deciding scheduler's setting."""

    writer: ClassVar[str] = "scheduler"
    aggregate: ClassVar[str] = "policy"
    aggregate_field: ClassVar[str] = "scope"

    scope: str  # "default"
    policy: PoolPolicy
