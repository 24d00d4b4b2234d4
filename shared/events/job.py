"""Events of a job: an experiment's place and rights in the queue, as people change them (gateway)."""

from typing import ClassVar

from shared.events.event import Event
from shared.ids import ExperimentId, PoolId


class JobEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a job."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "job"
    aggregate_field: ClassVar[str] = "experiment_id"

    experiment_id: ExperimentId


class JobPrioritySet(JobEvent, frozen=True, kw_only=True):
    """A user gave an experiment another priority (lower goes first); its place is that of its submission again."""

    priority: int


class JobWeightSet(JobEvent, frozen=True, kw_only=True):
    """A user gave an experiment another weight, its part where a pool shares fairly."""

    weight: float


class JobMaxSlotsSet(JobEvent, frozen=True, kw_only=True):
    """A user limited how many slots an experiment's trials hold together; what runs beyond it goes on."""

    max_slots: int


class JobMoved(JobEvent, frozen=True, kw_only=True):
    """A user put an experiment directly ahead of another in the queue, or behind it, and so into its lane."""

    beside_id: ExperimentId
    ahead: bool


class JobPoolSet(JobEvent, frozen=True, kw_only=True):
    """A user moved an experiment to another resource pool: its waiting trials wait there, at their old place; what runs
    checkpoints, stops and waits there, too."""

    pool_id: PoolId
