"""Events of an administrator: which agents and slots take work, how a pool is scheduled, who may have how much
(gateway)."""

from enum import StrEnum
from typing import ClassVar

import msgspec

from shared.events.event import Event
from shared.ids import AgentId, LimitId, PoolId

DEFAULT_PRIORITY = 42


class PolicyType(StrEnum):
    """By which rules a pool's queue is served."""

    PRIORITY = "priority"
    FAIR_SHARE = "fair_share"
    FIFO = "fifo"


class Fitting(StrEnum):
    """Which of several agents that have room is taken."""

    BEST = "best"  # the one with the fewest free slots: packs
    WORST = "worst"  # the one with the largest free part: spreads


class PoolPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a pool is scheduled. `reserve_after_s`: None never reserves agents for a gang that waits. `default_priority`
    is that of an experiment whose file names none."""

    type: PolicyType = PolicyType.PRIORITY
    preemption: bool = False
    fitting: Fitting = Fitting.BEST
    heterogeneous_fits: bool = False
    reserve_after_s: float | None = None
    default_priority: int = DEFAULT_PRIORITY


DEFAULT_POLICY = PoolPolicy()  # until somebody says otherwise


class AgentIntent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """What an administrator wants of an agent, or of some of its slots; it holds for every incarnation, until the
    opposite is said. Without `slots` the agent as a whole is meant, whatever becomes of its single slots."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "agent"
    aggregate_field: ClassVar[str] = "agent_id"

    agent_id: AgentId
    slots: tuple[int, ...] = ()


class AgentDrainRequested(AgentIntent, frozen=True, kw_only=True, omit_defaults=True):
    """An administrator wants an agent or slots of it to get no new work. What runs there goes on, for at most
    `grace_s` seconds if that is said; then it checkpoints, stops and waits at its old place in the queue."""

    grace_s: float | None = None


class AgentDisabled(AgentIntent, frozen=True, kw_only=True, omit_defaults=True):
    """An administrator took an agent or slots of it out of use: no new work, and what runs there is asked to stop."""


class AgentEnabled(AgentIntent, frozen=True, kw_only=True, omit_defaults=True):
    """An administrator lets an agent or slots of it take work again."""


class PoolConfigured(Event, frozen=True, kw_only=True):
    """An administrator said how a resource pool is scheduled from here on; it counts for what waits and what runs."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "pool"
    aggregate_field: ClassVar[str] = "pool_id"

    pool_id: PoolId
    policy: PoolPolicy


class LimitEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Common to all events of a limit. `workspace` None: of every workspace, each by itself."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "limit"
    aggregate_field: ClassVar[str] = "limit_id"

    limit_id: LimitId
    workspace: str | None = None


class LimitSet(LimitEvent, frozen=True, kw_only=True, omit_defaults=True):
    """An administrator limited how many slots a workspace's trials hold together, or how important its experiments may
    be (`best_priority` is the lowest number allowed); it replaces an earlier limit of the same scope."""

    max_slots: int | None = None
    best_priority: int | None = None


class LimitCleared(LimitEvent, frozen=True, kw_only=True, omit_defaults=True):
    """An administrator lifted a limit."""
