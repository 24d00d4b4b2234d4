"""Trials, one by one and as columns."""

from datetime import datetime
from enum import StrEnum

import msgspec

from services.gateway.views.view import Object, View


class TrialState(StrEnum):
    """The life of a trial: RUNNING and STOPPING hold slots or have just given them back; PARKED has trained to its
    target and waits for what its rung decides, WAITING waits for slots; the last three are final."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    PARKED = "PARKED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class AgentSlots(View, frozen=True, kw_only=True):
    """Slots of one agent that a trial holds, or held last, in rank order."""

    agent_id: str
    slots: list[int]


class Trial(View, frozen=True, kw_only=True):
    """One configuration trained. `best_checkpoint_id` is the newest checkpoint at or before the best step, else the
    first one after it, else (without a validation) the newest."""

    id: str
    experiment_id: str
    index: int
    state: TrialState
    hyperparameters: Object
    seed: int
    slots: int
    origin: str
    restarts: int
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    step: int | None
    metric: float | None
    best_step: int | None
    latest_checkpoint_id: str | None
    best_checkpoint_id: str | None
    agents: list[AgentSlots]
    reason: str | None
    error: str | None


class TrialPage(View, frozen=True, kw_only=True):
    """Trials by index."""

    items: list[Trial]
    next_cursor: str | None


class TrialColumns(View, frozen=True, kw_only=True):
    """Trials by index, a list for each property; `hyperparameters` by dotted name, null where a trial has none."""

    index: list[int]
    state: list[TrialState]
    metric: list[float | None]
    best_step: list[int | None]
    step: list[int | None]
    slots: list[int]
    restarts: list[int]
    started_at: list[datetime | None]
    ended_at: list[datetime | None]
    hyperparameters: dict[str, list[msgspec.Raw]]
    next_cursor: str | None
