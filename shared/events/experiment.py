"""Events of an experiment: what people ask for (gateway) and which trials exist (searcher)."""

from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from shared.events.event import Event
from shared.events.grounds import Failure, Judgement, Origin
from shared.ids import ExperimentId, PoolId, TrialId


class TrialEnd(StrEnum):
    """How a trial ended, for good."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class ExperimentEvent(Event, frozen=True, kw_only=True):
    """Common to all events of an experiment. What becomes of one is the searcher's to say."""

    writer: ClassVar[str] = "searcher"
    aggregate: ClassVar[str] = "experiment"
    aggregate_field: ClassVar[str] = "experiment_id"

    experiment_id: ExperimentId


class ExperimentIntent(ExperimentEvent, frozen=True, kw_only=True):
    """What a user wants of an experiment."""

    writer: ClassVar[str] = "gateway"


class ExperimentSubmitted(ExperimentIntent, frozen=True, kw_only=True, omit_defaults=True):
    """A user handed over an experiment. `config` is the validated file with every default filled in;
    `code_sha256` names the archive of the code directory in the object store. `forked_from` is the experiment whose
    code and file it took over, if it was made of another."""

    name: str
    config: dict[str, Any]  # the experiment file is user data; shared.config gives it types
    code_sha256: str
    code_bytes: int
    forked_from: ExperimentId | None = None


class ExperimentPaused(ExperimentIntent, frozen=True, kw_only=True):
    """A user asked that the experiment hold no slots; its trials checkpoint and wait."""


class ExperimentResumed(ExperimentIntent, frozen=True, kw_only=True):
    """A user asked that a paused experiment go on."""


class ExperimentCanceled(ExperimentIntent, frozen=True, kw_only=True):
    """A user ended the experiment; running trials checkpoint and stop, no more are requested."""


class SearchLimitsSet(ExperimentIntent, frozen=True, kw_only=True, omit_defaults=True):
    """A user changed how many trials a search has in all, or how many may train at a time; None: as before.

    Trials that were requested already go on, also those beyond a lower limit.
    """

    max_trials: int | None = None
    max_concurrent_trials: int | None = None


class ExperimentDescribed(ExperimentIntent, frozen=True, kw_only=True, omit_defaults=True):
    """A user changed what an experiment is called, or what is said of it; None: as before."""

    name: str | None = None
    description: str | None = None
    labels: tuple[str, ...] | None = None
    notes: str | None = None


class ExperimentMoved(ExperimentIntent, frozen=True, kw_only=True):
    """A user put an experiment into a project, or (both empty) into none. It changes its workspace only when over."""

    workspace: str
    project: str


class ExperimentArchived(ExperimentIntent, frozen=True, kw_only=True):
    """A user put an experiment that is over out of the lists; nothing of it is lost."""


class ExperimentUnarchived(ExperimentIntent, frozen=True, kw_only=True):
    """A user put an archived experiment back into the lists."""


class ExperimentDeletionRequested(ExperimentIntent, frozen=True, kw_only=True):
    """A user asked that an experiment that is over be deleted, its checkpoints with it; nothing may start from them."""


class ExperimentDeleted(ExperimentIntent, frozen=True, kw_only=True):
    """The checkpoints of an experiment whose deletion was asked for are gone; what it did stays on the log."""


class TrialCanceled(Event, frozen=True, kw_only=True):
    """A user ended one trial of an experiment; if it runs, it checkpoints and stops. The search goes on."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "trial"
    aggregate_field: ClassVar[str] = "trial_id"

    trial_id: TrialId
    experiment_id: ExperimentId


class TrialRequested(ExperimentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The search wants one more configuration trained. `origin` says where the configuration came from, `chosen` the
    same as structure.

    Where trials compete on rungs, `bracket` (from 0) is whose; `target` is how far to train at first, in the unit of
    the experiment's max_length, where the search says so. `retry_of` is the trial that failed with the same
    configuration, if this is another try of it.
    """

    trial_id: TrialId
    index: int
    hyperparameters: dict[str, Any]  # sampled from the user's space; nested like it
    seed: int
    slots: int
    pool_id: PoolId
    origin: str
    bracket: int | None = None
    target: int | None = None
    chosen: Origin | None = None
    retry_of: TrialId | None = None


class FinalMetricPredicted(ExperimentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A model predicted what a trial that has come to `rung` (from 1) would come to at the end of its ladder. The rung
    judges the trial by that, not by the metric that it has there.

    `mean` and `std` are of the searcher's metric, `num_observed` results were known. Without a `mean` (why, says
    `reason`) the trial is judged by its own metric.
    """

    trial_id: TrialId
    rung: int
    units: int  # how far the trial has trained for the rung: the unit of max_length or of the time metric
    num_observed: int
    mean: float | None = None
    std: float | None = None
    others: dict[str, float] = msgspec.field(
        default_factory=dict
    )  # indices of trials that came to the rung before: what is expected of them now
    reason: str = ""


class TrialExtended(ExperimentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A trial that has trained to its target goes on to a new one, for `rung` (from 1), from its newest checkpoint.

    `target` is in the unit of the experiment's max_length.
    """

    trial_id: TrialId
    rung: int
    target: int
    reason: str
    judgement: Judgement | None = None


class TrialStopped(ExperimentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The search wants a trial trained no further: its processes are to end, and it waits for no slots any more.

    `rung` (from 1) is where it stands; 0 where no rung has to do with it: a user ended it, or the search is over.
    """

    trial_id: TrialId
    rung: int
    reason: str
    judgement: Judgement | None = None


class TrialRetried(ExperimentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A trial failed and may try again from its newest checkpoint; `restarts` counts such failures so far."""

    trial_id: TrialId
    restarts: int
    reason: str
    failure: Failure | None = None


class TrialClosed(ExperimentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A trial is over for good: each has exactly one of these. `metric` is its best validation; `judgement` is why the
    search trained it no further, `failure` what ended it."""

    trial_id: TrialId
    end: TrialEnd
    reason: str
    metric: float | None
    step: int | None
    judgement: Judgement | None = None
    failure: Failure | None = None


class ExperimentCompleted(ExperimentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Every trial is closed and the search wants no more; at least one completed. `reason` says why the search ended
    before it had requested all its trials; empty if it had."""

    best_trial_id: TrialId | None
    best_metric: float | None
    reason: str = ""


class ExperimentStopped(ExperimentEvent, frozen=True, kw_only=True):
    """Every trial of a canceled experiment is closed; no more will be requested."""


class ExperimentFailed(ExperimentEvent, frozen=True, kw_only=True):
    """Every trial is closed, and none completed, or the search method could not go on; `reason` says which."""

    reason: str
