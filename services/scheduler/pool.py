"""A resource pool as a policy sees it: what it is asked for, by whom, on which machines. Plain values.

A policy is a function `schedule(pool) -> Plan`. It knows no log and no clock: the live scheduler makes a Pool of its
folded state, `tm simulate` makes one of a file, and both get their plans from the same code.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from shared.events import Share
from shared.ids import AgentId, ExperimentId, TrialId
from shared.queue import Reason, ReasonKind

DEFAULT_PRIORITY = 42
MAX_PRIORITY = 99
ZERO_SLOT_LIMIT = 100  # tasks without slots on one agent, as Determined's max_aux_containers_per_agent

#: How many slots of each agent a trial gets, chief first. A task without slots gets 0 of one agent.
Placement = dict[AgentId, int]


class PolicyType(StrEnum):
    """By which rules a pool's queue is served; one file each in `policies/`."""

    PRIORITY = "priority"
    FAIR_SHARE = "fair_share"
    FIFO = "fifo"


class Fitting(StrEnum):
    """Which of several agents that have room is taken."""

    BEST = "best"  # the one with the fewest free slots: packs
    WORST = "worst"  # the one with the largest free part: spreads


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPolicy:
    """How a pool is scheduled. `reserve_after_s`: None never reserves agents for a gang that waits."""

    type: PolicyType = PolicyType.PRIORITY
    preemption: bool = False
    fitting: Fitting = Fitting.BEST
    heterogeneous_fits: bool = False
    reserve_after_s: float | None = None


def pool_policy(text: str) -> PoolPolicy:
    """Return the policy that a setting names: a type, then words for what differs.

    As in `priority preemption worst reserve=600`, the last in seconds.

    Raises ValueError. Fair share preempts in any case.
    """
    name, *words = text.split() or [""]
    reserve_after_s = None
    for word in [word for word in words if word.startswith("reserve=")]:
        reserve_after_s = float(word.removeprefix("reserve="))
        words.remove(word)
    known = {"preemption", "heterogeneous_fits", *Fitting}
    wrong = [word for word in words if word not in known] + ([] if name in set(PolicyType) else [name])
    if wrong:
        types = ", ".join(PolicyType)
        raise ValueError(f"pool policy {text!r}: {wrong[0]!r} is not known; a type ({types}), then {sorted(known)}")
    return PoolPolicy(
        type=PolicyType(name),
        preemption="preemption" in words or name == PolicyType.FAIR_SHARE,
        fitting=Fitting.WORST if "worst" in words else Fitting.BEST,
        heterogeneous_fits="heterogeneous_fits" in words,
        reserve_after_s=reserve_after_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An agent as a policy sees it. One that is not open (disabled, draining) takes no new work."""

    agent_id: AgentId
    slots: int
    free: int
    kind: str = ""
    switch: str = ""  # agents with the same label are near each other; "" is near nobody
    num_zero_slot: int = 0  # tasks without slots that it runs
    zero_slot_limit: int = ZERO_SLOT_LIMIT
    is_open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A trial that waits, or (with a placement) holds its slots. A job is an experiment; its trials share the rest.

    `position` is the job's place in its lane, `number` the trial's place in its job.
    """

    trial_id: TrialId
    job_id: ExperimentId
    slots: int
    position: float
    number: int
    priority: int = DEFAULT_PRIORITY
    weight: float = 1.0
    max_slots: int | None = None
    preemptible: bool = True
    waited_s: float = 0.0
    placement: Placement | None = None
    is_stopping: bool = False  # it was asked to stop; its slots will fall free

    @property
    def order(self) -> tuple[float, int, str]:
        """Its place in the queue, priorities apart."""
        return self.position, self.number, self.trial_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """All that a policy decides from."""

    policy: PoolPolicy
    machines: tuple[Machine, ...]
    requests: tuple[Request, ...]

    def waiting(self) -> list[Request]:
        """The requests without slots, in order of position."""
        return sorted((request for request in self.requests if request.placement is None), key=lambda r: r.order)

    def running(self) -> list[Request]:
        """The requests that hold their slots, in order of position."""
        return sorted((request for request in self.requests if request.placement is not None), key=lambda r: r.order)

    def is_overdue(self, request: Request) -> bool:
        """Say whether a gang has waited so long that agents are kept for it."""
        after_s = self.policy.reserve_after_s
        return after_s is not None and request.slots > 0 and request.waited_s >= after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Roomy:
    """The open agents that alone had room for a request: how many, and the free slots of some."""

    num_agents: int
    free: dict[AgentId, int]


@dataclass(slots=True)
class Plan:
    """What one pass wants done, and what it went by. `release` names for each trial that must stop whom it makes room
    for; `queue` holds who waited, in the order served."""

    allocate: dict[TrialId, Placement] = field(default_factory=dict)
    release: dict[TrialId, TrialId | None] = field(default_factory=dict)
    waiting: dict[TrialId, Reason] = field(default_factory=dict)
    queue: list[Request] = field(default_factory=list)
    roomy: dict[TrialId, Roomy] = field(default_factory=dict)  # of those allocated: who had room for them
    shares: dict[ExperimentId, Share] = field(default_factory=dict)  # where jobs share fairly

    def start(self, request: Request, placement: Placement, roomy: Roomy) -> None:
        """Give a request its place."""
        self.allocate[request.trial_id] = placement
        self.roomy[request.trial_id] = roomy


@dataclass(slots=True)
class Quota:
    """How many slots each job holds, against its `max_slots`."""

    held: dict[ExperimentId, int] = field(default_factory=dict)

    @classmethod
    def of(cls, running: list[Request]) -> "Quota":
        """Count what is running."""
        quota = cls()
        for request in running:
            quota.add(request)
        return quota

    def add(self, request: Request) -> None:
        """Count one more."""
        self.held[request.job_id] = self.held.get(request.job_id, 0) + request.slots

    def refusal(self, request: Request) -> Reason | None:
        """Say why a request would exceed its job's limit, or None."""
        held, limit = self.held.get(request.job_id, 0), request.max_slots
        if limit is None or held + request.slots <= limit or request.slots == 0:
            return None
        return Reason(kind=ReasonKind.QUOTA, slots=request.slots, job_id=request.job_id, held=held, limit=limit)


def slots(number: int) -> str:
    """Return a number of slots in words."""
    return "1 slot" if number == 1 else f"{number} slots"
