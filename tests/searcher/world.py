"""Builders for the searcher's histories."""

from collections.abc import Mapping
from typing import Any

from services.searcher.decide import About, decide
from services.searcher.method import Answer
from services.searcher.state import State, check_invariants, evolve
from shared.config import parse_experiment
from shared.decisions import Decision
from shared.events import (
    CheckpointSaved,
    Event,
    ExperimentCanceled,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentSubmitted,
    GangMember,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Origin,
    OriginKind,
    Outcome,
    ReleaseReason,
    TrialExited,
    TrialRequested,
)
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId, allocation_id, checkpoint_id, trial_id
from tests.support.history import History

EXPERIMENT = ExperimentId("exp")
AGENT = AgentId("a1")
SUGGESTED = Origin(kind=OriginKind.MODEL, model="test")

RANDOM = "{name: random, metric: loss, max_trials: 3, max_concurrent_trials: 2}"
SPACE = "{lr: {type: log, minval: -4, maxval: -1}}"


class World(History[State]):
    """A searcher's state; `settle` lets it decide until nothing is needed."""

    def __init__(self, *events: Event) -> None:
        super().__init__(State(), evolve, check_invariants)
        self.answers: dict[ExperimentId, dict[About, Answer | str]] = {}
        self.fold(events)

    def decide(self) -> list[Decision]:
        return decide(self.state, self.answers)

    def settle(self) -> list[Event]:
        """Fold what the searcher decides until it decides nothing; return it all."""
        decided: list[Event] = []
        while decisions := self.decide():
            events = [decision.event for decision in decisions]
            self.fold(events)
            decided += events
            assert len(decided) < 10_000, "the searcher never settles"
        return decided

    def after(self, *events: Event) -> list[Event]:
        """Fold events, then return what comes of them."""
        self.fold(events)
        return self.settle()

    def run(self, index: int, *, loss: float | None = None, outcome: Outcome = Outcome.COMPLETED) -> list[Event]:
        """Have a trial get its slots, report, exit and give them back; return what comes of it."""
        reports = [] if loss is None else [reported(index, loss)]
        return self.after(allocated(index), *reports, exited(index, outcome), released(index))


def submitted(searcher: str = RANDOM, *, space: str = SPACE, more: str = "", experiment_id: str = EXPERIMENT) -> Event:
    """Return the submission of an experiment; `more` holds other lines of its file."""
    text = f"entrypoint: x\nsearcher: {searcher}\nhyperparameters: {space}\n{more}"
    return stored(parse_experiment(text).with_seed(7).model_dump(mode="json"), experiment_id)


def stored(config: Mapping[str, Any], experiment_id: str = EXPERIMENT) -> Event:
    return ExperimentSubmitted(
        experiment_id=ExperimentId(experiment_id), name="test", config=dict(config), code_sha256="0" * 64, code_bytes=1
    )


def paused() -> Event:
    return ExperimentPaused(experiment_id=EXPERIMENT)


def resumed() -> Event:
    return ExperimentResumed(experiment_id=EXPERIMENT)


def canceled() -> Event:
    return ExperimentCanceled(experiment_id=EXPERIMENT)


def allocated(index: int, epoch: int = 1) -> Event:
    trial, allocation = ids(index, epoch)
    return GPUAllocated(
        pool_id=PoolId("default"),
        allocation_id=allocation,
        trial_id=trial,
        experiment_id=EXPERIMENT,
        epoch=epoch,
        members=(GangMember(agent_id=AGENT, incarnation="i1", slots=(0,)),),
    )


def released(index: int, epoch: int = 1, reason: ReleaseReason = ReleaseReason.EXITED) -> Event:
    trial, allocation = ids(index, epoch)
    return GPUReleased(pool_id=PoolId("default"), allocation_id=allocation, trial_id=trial, epoch=epoch, reason=reason)


def reported(index: int, value: float, *, epoch: int = 1, step: int = 10, metric: str = "loss") -> Event:
    trial, allocation = ids(index, epoch)
    return MetricReported(
        trial_id=trial,
        experiment_id=EXPERIMENT,
        allocation_id=allocation,
        epoch=epoch,
        agent_id=AGENT,
        step=step,
        metrics={metric: value},
    )


def diverged(index: int, *, epoch: int = 1, step: int = 10) -> Event:
    """The trial's loss is NaN."""
    trial, allocation = ids(index, epoch)
    return MetricReported(
        trial_id=trial,
        experiment_id=EXPERIMENT,
        allocation_id=allocation,
        epoch=epoch,
        agent_id=AGENT,
        step=step,
        metrics={},
        not_finite=("loss",),
    )


def saved(index: int, step: int, *, epoch: int = 1) -> Event:
    trial, allocation = ids(index, epoch)
    return CheckpointSaved(
        trial_id=trial,
        experiment_id=EXPERIMENT,
        allocation_id=allocation,
        epoch=epoch,
        agent_id=AGENT,
        checkpoint_id=checkpoint_id(allocation, step),
        step=step,
        world_size=1,
        zero_stage=None,
        files=(),
    )


def exited(index: int, outcome: Outcome = Outcome.COMPLETED, *, epoch: int = 1, error: str | None = None) -> Event:
    trial, allocation = ids(index, epoch)
    return TrialExited(
        trial_id=trial,
        experiment_id=EXPERIMENT,
        allocation_id=allocation,
        epoch=epoch,
        agent_id=AGENT,
        outcome=outcome,
        exit_code=0 if outcome is Outcome.COMPLETED else 1,
        error=error,
    )


def ids(index: int, epoch: int) -> tuple[TrialId, AllocationId]:
    trial = trial_id(EXPERIMENT, index)
    return trial, allocation_id(trial, epoch)


def requests(events: list[Event]) -> list[TrialRequested]:
    """The trials requested among some events."""
    return [event for event in events if isinstance(event, TrialRequested)]


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
