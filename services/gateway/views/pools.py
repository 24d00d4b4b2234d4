"""Resource pools, and what workspaces may have of them."""

from services.gateway.views.view import View
from shared.events import Fitting, PolicyType, PoolPolicy


class Policy(View, frozen=True, kw_only=True):
    """How a pool is scheduled (see PoolConfigured); `default_priority` is for experiments that name none."""

    type: PolicyType
    preemption: bool
    fitting: Fitting
    heterogeneous_fits: bool
    reserve_after_s: float | None
    default_priority: int


def policy(value: PoolPolicy) -> Policy:
    """Return a policy with all its values."""
    return Policy(**{name: getattr(value, name) for name in value.__struct_fields__})


class Pool(View, frozen=True, kw_only=True):
    """A resource pool: how it is scheduled (by a policy of its own if `is_configured`), its agents that are up with
    their slots (`closed`: take no new work), its trials."""

    id: str
    is_configured: bool
    policy: Policy
    agents: int
    slots: int
    held: int
    closed: int
    waiting: int
    running: int


class PoolList(View, frozen=True, kw_only=True):
    """All pools by name."""

    items: list[Pool]


class Limit(View, frozen=True, kw_only=True):
    """What a workspace's experiments may have together: slots, of which they hold `held`, and the lowest priority
    number. `workspace` null: each workspace."""

    workspace: str | None
    max_slots: int | None
    best_priority: int | None
    held: int | None


class LimitList(View, frozen=True, kw_only=True):
    """All limits by workspace, the one for all first."""

    items: list[Limit]
    next_cursor: str | None
