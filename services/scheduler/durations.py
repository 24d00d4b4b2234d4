"""How long trials run, as far as the log tells: from what they report on their way, and from those that have finished.

No decision goes by it; it is what an expected start is computed from. Sizes are those of what is open.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import singledispatch

from shared.events import (
    Event,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentStopped,
    ExperimentSubmitted,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Outcome,
    TrialClosed,
    TrialExited,
    TrialExtended,
    TrialRequested,
)
from shared.ids import AllocationId, ExperimentId, TrialId

Mark = tuple[int, datetime]  # a step and when it was reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A trial on its slots; the first and the newest report tell its speed."""

    trial_id: TrialId
    since: datetime
    first: Mark | None = None
    newest: Mark | None = None
    has_completed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far an open trial is to train, in steps where that is known, and how long it has run before."""

    experiment_id: ExperimentId
    target: int | None
    ran_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an open experiment's trials took that ran to their end, and how fast one of them trained last. `max_steps`
    where their length is in batches."""

    max_steps: int | None
    step_s: float | None = None
    num_finished: int = 0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A duration in seconds, None if it cannot be told, and how it is known or why not."""

    left_s: float | None
    why: str


@dataclass(slots=True)
class Durations:
    """What is known."""

    runs: dict[AllocationId, Run] = field(default_factory=dict)
    courses: dict[TrialId, Course] = field(default_factory=dict)
    records: dict[ExperimentId, Record] = field(default_factory=dict)

    def of_run(self, allocation_id: AllocationId, now: datetime) -> Estimate:
        """Return how much longer a running trial will hold its slots."""
        run = self.runs.get(allocation_id)
        course = self.courses.get(run.trial_id) if run else None
        if run is None or course is None:
            return Estimate(left_s=0.0, why="it is about to end")
        if run.has_completed:
            return Estimate(left_s=0.0, why="it has ended")
        by_speed = _by_speed(run, course, now)
        return by_speed or self._by_others(course, course.ran_s + (now - run.since).total_seconds())

    def of_trial(self, trial_id: TrialId) -> Estimate:
        """Return how long a waiting trial will run."""
        course = self.courses.get(trial_id)
        if course is None:
            return Estimate(left_s=None, why="nothing is known of it")
        return self._by_others(course, course.ran_s)

    def _by_others(self, course: Course, ran_s: float) -> Estimate:
        record = self.records.get(course.experiment_id)
        if record and not record.num_finished and course.target is not None and record.step_s is not None:
            left_s = max(0.0, course.target * record.step_s - ran_s)
            return Estimate(left_s=left_s, why="the speed of its experiment's others")
        if record is None or not record.num_finished:
            return Estimate(left_s=None, why=f"no trial of experiment {course.experiment_id} has finished yet")
        mean_s = record.total_s / record.num_finished
        trials = "1 trial" if record.num_finished == 1 else f"{record.num_finished} trials"
        return Estimate(left_s=max(0.0, mean_s - ran_s), why=f"the mean of {trials} that finished")


def _by_speed(run: Run, course: Course, now: datetime) -> Estimate | None:
    step_s = _step_s(run)
    if course.target is None or step_s is None or run.newest is None:
        return None
    step, at = run.newest
    left_s = (course.target - step) * step_s - (now - at).total_seconds()
    return Estimate(left_s=max(0.0, left_s), why=f"its speed, at step {step} of {course.target}")


def _step_s(run: Run) -> float | None:
    """How long a step takes, once two reports tell."""
    if run.first is None or run.newest is None:
        return None
    (first_step, first_at), (step, at) = run.first, run.newest
    took_s = (at - first_at).total_seconds()
    return None if step <= first_step or took_s <= 0 else took_s / (step - first_step)


@singledispatch
def note(event: Event, known: Durations, now: datetime) -> None:
    """Fold one event, said at `now`. Most tell nothing about durations."""


@note.register
def _(event: ExperimentSubmitted, known: Durations, _now: datetime) -> None:
    length = event.config.get("searcher", {}).get("max_length")
    steps = length.get("batches") if isinstance(length, dict) else length
    known.records[event.experiment_id] = Record(max_steps=steps if isinstance(steps, int) else None)


@note.register(ExperimentCompleted)
@note.register(ExperimentFailed)
@note.register(ExperimentStopped)
def _(event: ExperimentCompleted | ExperimentFailed | ExperimentStopped, known: Durations, _now: datetime) -> None:
    known.records.pop(event.experiment_id, None)


@note.register
def _(event: TrialRequested, known: Durations, _now: datetime) -> None:
    target = _target(known, event.experiment_id, event.target)
    known.courses[event.trial_id] = Course(experiment_id=event.experiment_id, target=target)


@note.register
def _(event: TrialExtended, known: Durations, _now: datetime) -> None:
    if course := known.courses.get(event.trial_id):
        target = _target(known, event.experiment_id, event.target)
        known.courses[event.trial_id] = replace(course, target=target)


@note.register
def _(event: TrialClosed, known: Durations, _now: datetime) -> None:
    known.courses.pop(event.trial_id, None)


@note.register
def _(event: GPUAllocated, known: Durations, now: datetime) -> None:
    known.runs[event.allocation_id] = Run(trial_id=event.trial_id, since=now)


@note.register
def _(event: MetricReported, known: Durations, now: datetime) -> None:
    if run := known.runs.get(event.allocation_id):
        mark = (event.step, now)
        known.runs[event.allocation_id] = run = replace(run, first=run.first or mark, newest=mark)
        record, step_s = known.records.get(event.experiment_id), _step_s(run)
        if record is not None and step_s is not None:
            known.records[event.experiment_id] = replace(record, step_s=step_s)


@note.register
def _(event: TrialExited, known: Durations, _now: datetime) -> None:
    run = known.runs.get(event.allocation_id)
    if run and event.outcome is Outcome.COMPLETED:
        known.runs[event.allocation_id] = replace(run, has_completed=True)


@note.register
def _(event: GPUReleased, known: Durations, now: datetime) -> None:
    run = known.runs.pop(event.allocation_id, None)
    course = known.courses.get(event.trial_id)
    if run is None or course is None:
        return
    ran_s = course.ran_s + max(0.0, (now - run.since).total_seconds())
    known.courses[event.trial_id] = replace(course, ran_s=0.0 if run.has_completed else ran_s)
    record = known.records.get(course.experiment_id)
    if record and run.has_completed:
        known.records[course.experiment_id] = replace(
            record, num_finished=record.num_finished + 1, total_s=record.total_s + ran_s
        )


def _target(known: Durations, experiment_id: ExperimentId, units: int | None) -> int | None:
    """The steps that a trial trains for: a target counts in the unit of max_length, which may be another."""
    record = known.records.get(experiment_id)
    if record is None or record.max_steps is None:
        return None
    return record.max_steps if units is None else units
