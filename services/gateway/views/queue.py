"""Trials that wait for slots."""

from datetime import datetime

import msgspec

from services.gateway.views.view import View
from shared.queue import Ahead, Needs, PoolQueue, Reason


class QueueItem(View, frozen=True, kw_only=True):
    """A trial that waits for slots, and what for. `position` (from 1) is its place in its pool's order of service;
    `detail` and what follows is the scheduler's explanation, absent when it does not answer."""

    position: int
    trial_id: str
    experiment_id: str
    experiment_name: str
    slots: int
    pool: str
    priority: int | None = None
    waiting_since: datetime
    reason: str
    detail: Reason | None = None
    ahead: Ahead | None = None
    needs: Needs | None = None
    victims: list[str] = msgspec.field(default_factory=list)
    expected_start: datetime | None = None
    expected_why: str = ""


class QueueView(View, frozen=True, kw_only=True):
    """Waiting trials in the order they will be served, pool by pool. `position` is that of the log up to which the
    scheduler had folded; without it the scheduler did not answer, and the order is that of the requests."""

    items: list[QueueItem]
    next_cursor: str | None = None
    num_waiting: int | None = None
    position: int | None = None
    pools: list[PoolQueue] = msgspec.field(default_factory=list)
