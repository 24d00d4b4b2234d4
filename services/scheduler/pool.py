"""A resource pool as a policy sees it: what it is asked for, by whom, on which machines. Plain values.

A policy is a function `schedule(pool) -> Plan`. It knows no log and no clock: the live scheduler makes a Pool of its
folded state, `tm simulate` makes one of a file, and both get their plans from the same code.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec

from msgspec import Struct

from shared.events import DEFAULT_PRIORITY, ZERO_SLOT_LIMIT, Fitting, PolicyType, PoolPolicy, Share
from shared.ids import AgentId, ExperimentId, TrialId
from shared.queue import Reason

_Facts = ParamSpec("_Facts")

MAX_PRIORITY = 99
MAX_RESERVE_S = 1e9  # as the API has it

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
    reserve_after_s = float(numbers["reserve"]) if "reserve" in numbers else None
    if reserve_after_s is not None and not 0 <= reserve_after_s <= MAX_RESERVE_S:
        raise ValueError(f"pool policy {text!r}: reserve must be from 0 to {MAX_RESERVE_S:.0f} seconds")
    return PoolPolicy(
        type=PolicyType(name),
        preemption="preemption" in words or name == PolicyType.FAIR_SHARE,
        fitting=Fitting.WORST if "worst" in words else Fitting.BEST,
        heterogeneous_fits="heterogeneous_fits" in words,
        reserve_after_s=reserve_after_s,
        default_priority=default_priority,
    )


class Machine(Struct, frozen=True, kw_only=True):
    """An agent as a policy sees it. One that is not open (disabled, draining) takes no new work; single slots that take
    none are in `num_closed`, not in `slots`."""

    agent_id: AgentId
    slots: int
    free: int
    kind: str = ""
    host: str = ""  # agents with the same label are near each other; "" is near nobody
    switch: str = ""  # the same, not as near
    num_zero_slot: int = 0  # tasks without slots that it runs
    zero_slot_limit: int = ZERO_SLOT_LIMIT
    is_open: bool = True
    num_closed: int = 0


class Request(Struct, frozen=True, kw_only=True):
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
    is_overdue: bool = False  # it has waited so long that agents are kept for it; the books tell
    placement: Placement | None = None
    is_stopping: bool = False  # it was asked to stop; its slots will fall free

    @property
    def order(self) -> tuple[float, int, str]:
        """Its place in the queue, priorities apart."""
        return self.position, self.number, self.trial_id


def is_overdue(policy: PoolPolicy, slots: int, waited_s: float) -> bool:
    """Say whether a trial has waited so long that agents are kept for it."""
    return policy.reserve_after_s is not None and slots > 0 and waited_s >= policy.reserve_after_s


class Pool(Struct, frozen=True, kw_only=True):
    """All that a policy decides from, as plain values; `books.py` has it indexed."""

    policy: PoolPolicy
    machines: tuple[Machine, ...]
    requests: tuple[Request, ...]
    workspaces: Mapping[str, "WorkspaceUse"] = {}  # those that have a limit

    def waiting(self) -> list[Request]:
        """The requests without slots, in order of position."""
        return sorted((request for request in self.requests if request.placement is None), key=lambda r: r.order)

    def running(self) -> list[Request]:
        """The requests that hold their slots, in order of position."""
        return sorted((request for request in self.requests if request.placement is not None), key=lambda r: r.order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roomy:
    """The open agents that alone had room for a request: how many, and the free slots of some."""

    num_agents: int
    free: dict[AgentId, int]


#: Whose reasons a pass is asked for: these trials', or (None) everyone's.
Asked = Collection[TrialId] | None


@dataclass(slots=True)
class Plan:
    """What one pass wants done, and what it went by. `release` names for each trial that must stop whom it makes room
    for. Of those who wait, `waiting` and `queue` (in the order served) hold whom the pass was asked about."""

    asked: Asked = None
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

    def wait(
        self,
        request: Request,
        reason: Callable[Concatenate[Request, _Facts], Reason],
        *facts: _Facts.args,
        **more: _Facts.kwargs,
    ) -> None:
        """Let a request wait, and say why if somebody asked: reasons cost more than decisions."""
        if self.asked is None or request.trial_id in self.asked:
            self.waiting[request.trial_id] = reason(request, *facts, **more)

    def note(self, request: Request, reason: Reason) -> None:
        """Let a request wait for a reason that is known already."""
        if self.asked is None or request.trial_id in self.asked:
            self.waiting[request.trial_id] = reason


@dataclass(slots=True, kw_only=True)
class WorkspaceUse:
    """How many slots a workspace that has a limit holds, in all pools together."""

    limit: int
    held: int


def slots(number: int) -> str:
    """Return a number of slots in words."""
    return "1 slot" if number == 1 else f"{number} slots"
