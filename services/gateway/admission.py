"""What an experiment may ask of a resource pool, at submission and later: pure rules.

What the scheduler could never place is refused, by the scheduler's own rule of what fits. Agents and slots that are
disabled or drained count as present, as in Determined: they come back. Without an agent the answer is not known yet:
the experiment waits for one. A workspace is held to its own limit and to the one for all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shared.capacity import AgentSize, can_hold, nearest_below
from shared.errors import Problem, Rejected
from shared.events import DEFAULT_POLICY, JobEvent, JobMaxSlotsSet, JobMoved, JobPoolSet, JobPrioritySet, PoolPolicy

DEFAULT_POOL = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A resource pool as far as admission cares: its agents that are up, and its policy."""

    name: str
    agents: tuple[AgentSize, ...]
    policy: PoolPolicy = DEFAULT_POLICY

    @property
    def num_slots(self) -> int:
        """The slots of its agents."""
        return sum(agent.slots for agent in self.agents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What an administrator allows a workspace, or (None) each."""

    workspace: str | None
    max_slots: int | None
    best_priority: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What of an experiment bears on a change of its place in the queue."""

    experiment_id: str
    workspace: str
    pool: str
    slots_per_trial: int
    priority: int


def admit(config: dict[str, Any], pools: Mapping[str, Pool], limits: Iterable[Limit]) -> dict[str, Any]:
    """Return an experiment's config with its priority filled in. Raises Rejected when it asks for what cannot be."""
    asked, workspace = config["resources"], config["workspace"]
    pool = known_pool(asked["resource_pool"], pools, "resources.resource_pool")
    best = best_priority(workspace, limits)
    problems = [
        *_misfit(pool, asked["slots_per_trial"], "resources.slots_per_trial"),
        *_beyond_slots(workspace, asked["slots_per_trial"], limits, "resources.slots_per_trial"),
    ]
    priority = asked["priority"]
    if priority is None:
        priority = max(pool.policy.default_priority, best)
    else:
        problems += _beyond_priority(workspace, priority, best, "resources.priority")
    if problems:
        raise Rejected("the experiment asks for more than it can have", tuple(problems))
    return config | {"resources": asked | {"priority": priority}}


def check_change(
    change: JobEvent,
    subject: Submitted,
    beside: Submitted | None,
    pools: Mapping[str, Pool],
    limits: Iterable[Limit],
) -> None:
    """Raise Rejected when a change of an experiment would ask for what cannot be.

    `beside` is the one that it is moved to, if it is; not None then.
    """
    best, problems = best_priority(subject.workspace, limits), list[Problem]()
    match change:
        case JobPrioritySet():
            problems = _beyond_priority(subject.workspace, change.priority, best, "priority")
        case JobMoved() if beside is not None:
            if beside.pool != subject.pool:
                reason = f"experiment {subject.experiment_id} waits in pool {subject.pool}, {beside.experiment_id} in "
                raise Rejected(f"{reason}{beside.pool}: they are in different queues", status=HTTPStatus.CONFLICT)
            path = "ahead_of" if change.ahead else "behind"
            problems = _beyond_priority(subject.workspace, beside.priority, best, path)
        case JobMaxSlotsSet():
            pass  # more than the workspace's limit may be written; the limit holds all the same
        case JobPoolSet():
            pool = known_pool(change.pool_id, pools, "pool")
            if change.pool_id == subject.pool:
                reason = f"experiment {subject.experiment_id} is in pool {subject.pool} already"
                raise Rejected(reason, status=HTTPStatus.CONFLICT)
            problems = _misfit(pool, subject.slots_per_trial, "pool")
    if problems:
        raise Rejected("the change asks for more than the experiment can have", tuple(problems))


def best_priority(workspace: str, limits: Iterable[Limit]) -> int:
    """Return the lowest priority number that a workspace may use."""
    return max((limit.best_priority or 1 for limit in limits if limit.workspace in (None, workspace)), default=1)


def known_pool(name: str, pools: Mapping[str, Pool], path: str) -> Pool:
    """Return a pool by its name. Raises Rejected when nobody knows it."""
    if name in pools:
        return pools[name]
    if name == DEFAULT_POOL:
        return Pool(name=name, agents=())
    known = ", ".join(sorted(pools.keys() | {DEFAULT_POOL}))
    mistake = Problem(path, f"there is no pool {name}", f"known pools: {known}")
    raise Rejected("the experiment asks for an unknown resource pool", (mistake,))


def _misfit(pool: Pool, slots: int, path: str) -> list[Problem]:
    heterogeneous = pool.policy.heterogeneous_fits
    if not pool.agents or can_hold(slots, pool.agents, heterogeneous_fits=heterogeneous):
        return []
    message = f"each trial asks for {slots} slots; pool {pool.name} has {pool.num_slots}"
    if slots <= pool.num_slots:
        unequal = "" if heterogeneous else " of equal size"
        sizes = ", ".join(str(agent.slots) for agent in sorted(pool.agents, reverse=True)[:8])
        message += f" (agents of {sizes}), but a gang goes on one agent, or on whole agents of one kind{unequal}"
    below = nearest_below(slots, pool.agents, heterogeneous_fits=heterogeneous)
    return [Problem(path, message, f"use at most {below}, or add agents first" if below else "add agents first")]


def _beyond_slots(workspace: str, slots: int, limits: Iterable[Limit], path: str) -> list[Problem]:
    found = [limit for limit in limits if limit.workspace in (None, workspace) and limit.max_slots is not None]
    strictest = min(found, key=lambda limit: limit.max_slots or 0, default=None)
    if strictest is None or strictest.max_slots is None or slots <= strictest.max_slots:
        return []
    message = f"{slots} slots are more than the {strictest.max_slots} that {_scope(strictest.workspace)} may hold"
    return [Problem(path, message, f"use at most {strictest.max_slots}, or ask an administrator")]


def _beyond_priority(workspace: str, priority: int, best: int, path: str) -> list[Problem]:
    if priority >= best:
        return []
    message = f"priority {priority} is more important than {best}, the best that {_scope(workspace)} may use"
    return [Problem(path, message, f"use {best} or more, or ask an administrator")]


def _scope(workspace: str | None) -> str:
    if workspace is None:
        return "any workspace"
    return f"workspace {workspace}" if workspace else "an experiment without a workspace"
