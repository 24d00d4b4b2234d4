"""A resource pool as a policy sees it: what it is asked for, by whom, on which machines. Plain values.

A policy is a function `schedule(pool) -> Plan`. It knows no log and no clock: the live scheduler makes a Pool of its
folded state, `tm simulate` makes one of a file, and both get their plans from the same code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.events import DEFAULT_PRIORITY, ZERO_SLOT_LIMIT, Fitting, PolicyType, PoolPolicy, Share
from shared.ids import AgentId, ExperimentId, TrialId
from shared.queue import Reason, ReasonKind

MAX_PRIORITY = 99

#: How many slots of each agent a trial gets, chief first. A task without slots gets 0 of one agent.
Placement = dict[AgentId, int]


def pool_policy(text: str) -> PoolPolicy:
    """Return the policy that a setting names: a type, then words for what differs.

    As in `priority preemption worst reserve=600 default_priority=50`; `reserve` is in seconds.

    Raises ValueError. Fair share preempts in any case.
    """
    name, *words = text.split() or [""]
    numbers = dict(word.split("=", 1) for word in words if "=" in word)
    known = {"preemption", "heterogeneous_fits", *Fitting}
    wrong = [word for word in words if "=" not in word and word not in known]
    wrong += [number for number in numbers if number not in ("reserve", "default_priority")]
    if wrong or name not in set(PolicyType):
        types, words_ = ", ".join(PolicyType), sorted(known | {"reserve=SECONDS", "default_priority=N"})
        raise ValueError(f"pool policy {text!r}: {[*wrong, name][0]!r} is not known; a type ({types}), then {words_}")
    default_priority = int(numbers.get("default_priority", DEFAULT_PRIORITY))
    if not 1 <= default_priority <= MAX_PRIORITY:
        raise ValueError(f"pool policy {text!r}: default_priority must be from 1 to {MAX_PRIORITY}")
    return PoolPolicy(
        type=PolicyType(name),
        preemption="preemption" in words or name == PolicyType.FAIR_SHARE,
        fitting=Fitting.WORST if "worst" in words else Fitting.BEST,
        heterogeneous_fits="heterogeneous_fits" in words,
        reserve_after_s=float(numbers["reserve"]) if "reserve" in numbers else None,
        default_priority=default_priority,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An agent as a policy sees it. One that is not open (disabled, draining) takes no new work; single slots that take
    none are in `num_closed`, not in `slots`."""

    agent_id: AgentId
    slots: int
    free: int
    kind: str = ""
    switch: str = ""  # agents with the same label are near each other; "" is near nobody
    num_zero_slot: int = 0  # tasks without slots that it runs
    zero_slot_limit: int = ZERO_SLOT_LIMIT
    is_open: bool = True
    num_closed: int = 0


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
    workspace: str = ""
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
    workspaces: Mapping[str, "WorkspaceUse"] = field(default_factory=dict)  # those that have a limit

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


@dataclass(slots=True, kw_only=True)
class WorkspaceUse:
    """How many slots a workspace that has a limit holds, in all pools together."""

    limit: int
    held: int


@dataclass(slots=True, kw_only=True)
class Quota:
    """How many slots each job and each workspace holds, against `max_slots` and the limit that is set for it."""

    held: dict[ExperimentId, int] = field(default_factory=dict)
    workspaces: dict[str, WorkspaceUse] = field(default_factory=dict)

    @classmethod
    def of(cls, pool: Pool) -> "Quota":
        """Count what is running."""
        quota = cls(workspaces={workspace: replace(use) for workspace, use in pool.workspaces.items()})
        for request in pool.requests:
            if request.placement is not None:
                quota.held[request.job_id] = quota.held.get(request.job_id, 0) + request.slots
        return quota

    def add(self, request: Request) -> None:
        """Count one more that takes its place."""
        self.held[request.job_id] = self.held.get(request.job_id, 0) + request.slots
        if use := self.workspaces.get(request.workspace):
            use.held += request.slots

    def refusal(self, request: Request) -> Reason | None:
        """Say why a request would exceed its job's limit or its workspace's, or None."""
        held, limit = self.held.get(request.job_id, 0), request.max_slots
        if limit is None or held + request.slots <= limit or request.slots == 0:
            return self.workspace_refusal(request)
        return Reason(kind=ReasonKind.QUOTA, slots=request.slots, job_id=request.job_id, held=held, limit=limit)

    def workspace_refusal(self, request: Request) -> Reason | None:
        """Say why a request would exceed its workspace's limit, or None."""
        use = self.workspaces.get(request.workspace)
        if use is None or use.held + request.slots <= use.limit or request.slots == 0:
            return None
        whose = f"workspace “{request.workspace}”" if request.workspace else "work without a workspace"
        return Reason(kind=ReasonKind.LIMIT, slots=request.slots, held=use.held, limit=use.limit, whose=whose)


def slots(number: int) -> str:
    """Return a number of slots in words."""
    return "1 slot" if number == 1 else f"{number} slots"
