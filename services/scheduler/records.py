"""What the scheduler's memory holds of each agent, trial, allocation and experiment. Values: they are replaced, never
changed."""

from datetime import UTC, datetime

from msgspec import Struct

from shared.events import DEFAULT_PRIORITY, ZERO_SLOT_LIMIT, GangMember, Outcome
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId

#: Before any event.
EPOCH = datetime.fromtimestamp(0, UTC)
#: For an experiment of a time when its file could not say.
PREEMPTION_TIMEOUT_S = 60.0


class Agent(Struct, frozen=True, kw_only=True):
    """One incarnation of an agent. A lost or left agent offers nothing and is forgotten."""

    agent_id: AgentId
    incarnation: str
    pool_id: PoolId
    slots: frozenset[int]
    kinds: dict[str, frozenset[int]]  # its slots by kind; one with none has the kind "none"
    joined_seq: int
    host: str = ""
    switch: str = ""
    zero_slot_limit: int = ZERO_SLOT_LIMIT
    closed: frozenset[int] = frozenset()  # of its slots, those that take no new work
    is_open: bool = True  # as a whole

    def slots_of(self, kind: str) -> frozenset[int]:
        """Return its slots of a kind."""
        return self.kinds[kind]

    def kind_of(self, slots: tuple[int, ...]) -> str:
        """Return of which kind some of its slots are; no slots count as the first."""
        return next(
            (kind for kind, of_kind in self.kinds.items() if slots and slots[0] in of_kind), next(iter(self.kinds))
        )


class Claimant(Struct, frozen=True, kw_only=True):
    """A process that joined under a name that another one has, or with slots that it may not have."""

    agent_id: AgentId
    pool_id: PoolId
    incarnation: str
    joined_seq: int
    is_other: bool  # another process, while the first may still be alive

    @property
    def name(self) -> str:
        """What tells it from other claimants."""
        return f"{self.agent_id}/{self.incarnation}"


class Trial(Struct, frozen=True, kw_only=True):
    """A trial that is not closed."""

    trial_id: TrialId
    experiment_id: ExperimentId
    pool_id: PoolId
    slots: int
    requested_seq: int
    epoch: int = 0
    allocation_id: AllocationId | None = None
    waiting: bool = True
    wanted_seq: int = 0  # the event that put it (back) into the queue
    waiting_since: datetime = EPOCH  # when it was last put (back) into the queue
    stopped_seq: int | None = None  # the search wants no more of it
    is_interrupted: bool = False  # its machines failed it last time

    @property
    def place(self) -> int:
        """Its place in the queue: that of its request, unless it may be the cause of what keeps going wrong."""
        return self.wanted_seq if self.is_interrupted else self.requested_seq


class Allocation(Struct, frozen=True, kw_only=True):
    """A gang's slots, held until GPUReleased."""

    allocation_id: AllocationId
    trial_id: TrialId
    experiment_id: ExperimentId
    pool_id: PoolId
    epoch: int
    members: tuple[GangMember, ...]
    allocated_seq: int
    preemption_seq: int | None = None
    stops_for: TrialId | None = None  # it was asked to stop so that this one can start
    exited: frozenset[AgentId] = frozenset()
    exit_seqs: tuple[int, ...] = ()
    lost: frozenset[AgentId] = frozenset()
    lost_seq: int | None = None
    outcome: Outcome | None = None  # what the chief said at the end

    @property
    def num_slots(self) -> int:
        """How many slots it has in all."""
        return sum(len(member.slots) for member in self.members)


class Job(Struct, frozen=True, kw_only=True):
    """An experiment's place and rights in the queue; its trials share them. A lower `position` goes first in a lane."""

    position: float
    submitted_seq: int = 0
    priority: int = DEFAULT_PRIORITY
    weight: float = 1.0
    max_slots: int | None = None
    preemptible: bool = True


class Limit(Struct, frozen=True, kw_only=True):
    """What a workspace's trials hold together at most, and the lowest priority number that counts for them."""

    max_slots: int | None
    best_priority: int | None


class Experiment(Struct, frozen=True, kw_only=True):
    """What the scheduler needs to know of an open experiment."""

    preemption_timeout_s: float
    job: Job
    workspace: str = ""
    pool_id: PoolId | None = None  # where somebody moved it
    moved_seq: int = 0
    paused_seq: int | None = None
    canceled_seq: int | None = None
