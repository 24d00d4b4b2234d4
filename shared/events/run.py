"""Events of runs: what somebody tracks outside a trial, with an MLflow client for one (gateway).

Runs and logged models lie in experiments of their own kind, which hold no search: *tracked* experiments. The metrics
that a run logs are volume (shared.volume), not events.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

import msgspec
from msgspec import field

from shared.events.event import Event
from shared.ids import ExperimentId, ModelId, RunId


class RunStatus(StrEnum):
    """How a run is doing, as its client says."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class ModelStatus(StrEnum):
    """Whether a logged model's files are all there, as its client says."""

    PENDING = "LOGGED_MODEL_PENDING"
    READY = "LOGGED_MODEL_READY"
    FAILED = "LOGGED_MODEL_UPLOAD_FAILED"


class TrackedEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Common to all events of a tracked experiment."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "tracked"
    aggregate_field: ClassVar[str] = "experiment_id"

    experiment_id: ExperimentId


class TrackedExperimentCreated(TrackedEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user made an experiment for runs; among those of its workspace its name is the only one."""

    name: str
    workspace: str = ""
    tags: dict[str, str] = field(default_factory=dict)


class TrackedExperimentChanged(TrackedEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user renamed a tracked experiment (`name`), set tags of it or removed some."""

    name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    removed_tags: tuple[str, ...] = ()


class TrackedExperimentDeleted(TrackedEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user put a tracked experiment aside with its runs; it can be restored."""


class TrackedExperimentRestored(TrackedEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user took a tracked experiment back."""


class RunEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Common to all events of a run."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "run"
    aggregate_field: ClassVar[str] = "run_id"

    run_id: RunId
    experiment_id: ExperimentId


class RunCreated(RunEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user began a run. `started_at` is by the clock of its machine."""

    name: str
    started_at: datetime
    tags: dict[str, str] = field(default_factory=dict)


class RunChanged(RunEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A run has another name or status, or has ended; None: as before."""

    name: str | None = None
    status: RunStatus | None = None
    ended_at: datetime | None = None


class RunAnnotated(RunEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Parameters of a run were logged, tags set or removed. A parameter never changes."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    removed_tags: tuple[str, ...] = ()


class RunDataset(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A data set that a run read."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = field(default_factory=dict)


class RunModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A logged model that a run used or made, at which step."""

    model_id: ModelId
    step: int = 0


class RunLinked(RunEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A run used these data sets and models, or made these models."""

    datasets: tuple[RunDataset, ...] = ()
    used: tuple[RunModel, ...] = ()
    made: tuple[RunModel, ...] = ()


class RunDeleted(RunEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user put a run aside; it can be restored."""


class RunRestored(RunEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user took a run back."""


class ModelEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Common to all events of a logged model."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "model"
    aggregate_field: ClassVar[str] = "model_id"

    model_id: ModelId
    experiment_id: ExperimentId


class ModelLogged(ModelEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user began to log a model; its files follow."""

    name: str
    model_type: str = ""
    run_id: RunId | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class ModelChanged(ModelEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A logged model is complete, or has more parameters, or other tags; None: as before."""

    status: ModelStatus | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    removed_tags: tuple[str, ...] = ()


class ModelDeleted(ModelEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user deleted a logged model; what the log says of it stays."""
