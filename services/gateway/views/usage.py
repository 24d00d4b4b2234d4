"""What has been used: slots times seconds, and how full the pools were."""

from datetime import datetime

from services.gateway.views.view import View


class Usage(View, frozen=True, kw_only=True):
    """What an experiment has had up to `at`: slots times seconds, in so many allocations; what it holds then."""

    slot_seconds: float
    allocations: int
    slots_held: int
    at: datetime


class SlotUsageItem(View, frozen=True, kw_only=True):
    """What one of those that use is summed by has used; a workspace, and an experiment's id, where that is told."""

    name: str
    workspace: str
    experiment_id: str
    num_trials: int
    num_allocations: int
    slot_s: float


class SlotUsage(View, frozen=True, kw_only=True):
    """Slots times seconds held, most first; of what is still held, up to the end of the time."""

    since: datetime
    until: datetime
    by: str
    slot_s: float
    items: list[SlotUsageItem]


class PoolHistory(View, frozen=True, kw_only=True):
    """How many slots of a pool were held, and how many there were, on average in each stretch."""

    pool: str
    held: list[float]
    slots: list[float]


class SlotHistory(View, frozen=True, kw_only=True):
    """How full the pools were, in stretches of `stretch_s` seconds from `since` on."""

    since: datetime
    until: datetime
    stretch_s: float
    pools: list[PoolHistory]
