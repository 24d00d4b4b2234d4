"""Experiments, and what became of many at once."""

from datetime import datetime
from enum import StrEnum

from services.gateway.views.view import Object, View


class ExperimentState(StrEnum):
    """The life of an experiment; the last three are final."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class SearcherView(View, frozen=True, kw_only=True):
    """The search method, the metric it looks at, and its limits as they are now."""

    name: str
    metric: str
    smaller_is_better: bool
    max_trials: int | None
    max_concurrent_trials: int | None


class TrialCounts(View, frozen=True, kw_only=True):
    """How many trials are in which state; `running` includes those that stop, `waiting` those parked at a rung."""

    total: int
    waiting: int
    running: int
    completed: int
    failed: int
    canceled: int


class BestTrial(View, frozen=True, kw_only=True):
    """The trial that did not fail with the best validation so far."""

    trial_id: str
    metric: float
    step: int
    hyperparameters: Object
    checkpoint_id: str | None


class Deletion(StrEnum):
    """How far the deletion of an experiment is: asked for, or done."""

    REQUESTED = "REQUESTED"
    DONE = "DONE"


class Experiment(View, frozen=True, kw_only=True):
    """One search over a space. `owner` submitted it; `forked_from` is the experiment that it was made of."""

    id: str
    name: str
    description: str
    labels: list[str]
    state: ExperimentState
    searcher: SearcherView
    slots_per_trial: int
    workspace: str
    project: str
    owner: str
    archived: bool
    deletion: Deletion | None
    forked_from: str | None
    pool: str
    priority: int
    weight: float
    max_slots: int | None
    progress: float
    submitted_at: datetime
    ended_at: datetime | None
    reason: str | None
    trials: TrialCounts
    best: BestTrial | None
    seq: int


class ExperimentDetail(Experiment, frozen=True, kw_only=True):
    """An experiment with what people noted on it and its whole configuration, every default filled in."""

    notes: str
    config: Object


class ExperimentPage(View, frozen=True, kw_only=True):
    """Experiments, newest first."""

    items: list[Experiment]
    next_cursor: str | None


class Outcome(View, frozen=True, kw_only=True):
    """What became of one of many: `status` is what a request about it alone would have answered."""

    id: str
    status: int
    detail: str = ""


class OutcomeList(View, frozen=True, kw_only=True):
    """What became of each, in the order they were named."""

    items: list[Outcome]
    num_failed: int


class CodeFile(View, frozen=True, kw_only=True):
    """One file of an experiment's code directory."""

    path: str
    size_bytes: int


class CodeFiles(View, frozen=True, kw_only=True):
    """The files of an experiment's code directory by path; `sha256` is the archive's."""

    sha256: str
    items: list[CodeFile]
