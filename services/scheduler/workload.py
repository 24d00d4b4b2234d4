"""The workload in a log: what was asked for, by which event each demand was made necessary, and how long it ran.

A demand is a trial's wish for slots: from TrialRequested, TrialExtended or TrialRetried to the end of what it then
trains. Its work is how long it held slots; what an agent's loss made void does not count, what a preemption cut does.
A search demands more when trials report or end, so a demand is tied to the moment in the other trial's work that
caused it (by the causes on the log), and comes earlier when that trial runs earlier. A demand without such a cause
comes at the time it came.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from shared.events import (
    AgentIntent,
    AgentJoined,
    AgentLeaving,
    AgentLeft,
    AgentLost,
    AgentRefused,
    DefaultPolicySet,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    ExperimentSubmitted,
    GPUAllocated,
    GPUReleased,
    JobEvent,
    LimitEvent,
    PoolConfigured,
    PreemptionRequested,
    ReleaseReason,
    SlotRecovered,
    SlotUnhealthy,
    TrialClosed,
    TrialEvent,
    TrialExtended,
    TrialRequested,
    TrialRetried,
)
from shared.ids import ExperimentId, TrialId
from shared.log import Recorded

#: What happens whatever the scheduler decides.
GIVEN = (
    AgentIntent,
    AgentJoined,
    AgentLeaving,
    AgentLeft,
    AgentLost,
    AgentRefused,
    DefaultPolicySet,
    ExperimentCanceled,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentSubmitted,
    JobEvent,
    LimitEvent,
    PoolConfigured,
    SlotRecovered,
    SlotUnhealthy,
)
DemandEvent = TrialRequested | TrialExtended | TrialRetried
EndEvent = ExperimentCompleted | ExperimentFailed | ExperimentStopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A moment in a trial's life: when it has done so much of its demand number `number` (from 0). `seq` was then."""

    seq: int
    trial_id: TrialId
    number: int
    work_s: float


@dataclass(slots=True, kw_only=True)
class Demand:
    """A wish for slots, `delay_s` after its anchor, or (without one) at the time it was said."""

    said: Recorded
    anchor: Anchor | None
    delay_s: float
    work_s: float = 0.0

    @property
    def event(self) -> DemandEvent:
        """The event that says it."""
        event = self.said.event
        assert isinstance(event, DemandEvent)
        return event


@dataclass(slots=True, kw_only=True)
class Workload:
    """What the log asks of a scheduler. `stop_s`: how long a trial took to stop when asked to, in the middle."""

    given: list[Recorded] = field(default_factory=list)
    demands: dict[TrialId, list[Demand]] = field(default_factory=dict)
    closed: dict[TrialId, TrialClosed] = field(default_factory=dict)
    ends: dict[ExperimentId, EndEvent] = field(default_factory=dict)
    stop_s: float = 0.0
    running: dict[TrialId, tuple[datetime, float]] = field(default_factory=dict)  # since when, and done before


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    trial_id: TrialId
    number: int
    done_s: float  # of the demand, before this run
    began: datetime


class _Reader:
    def __init__(self) -> None:
        self.workload = Workload()
        self._runs: dict[str, _Run] = {}
        self._asked: dict[str, datetime] = {}
        self._stops_s: list[float] = []
        self._anchors: dict[int, tuple[Anchor, datetime]] = {}

    def read(self, recorded: Recorded) -> None:
        event, time = recorded.event, recorded.envelope.time
        self._anchor(recorded)
        match event:
            case TrialRequested() | TrialExtended() | TrialRetried():
                self._demand(recorded, event)
            case GPUAllocated():
                demands = self.workload.demands.get(event.trial_id, [])
                if demands:
                    run = _Run(trial_id=event.trial_id, number=len(demands) - 1, done_s=demands[-1].work_s, began=time)
                    self._runs[event.allocation_id] = run
            case PreemptionRequested():
                self._asked[event.allocation_id] = time
            case GPUReleased():
                self._release(event, time)
            case TrialClosed():
                self.workload.closed[event.trial_id] = event
            case ExperimentCompleted() | ExperimentFailed() | ExperimentStopped():
                self.workload.ends[event.experiment_id] = event
            case _ if isinstance(event, GIVEN):
                self.workload.given.append(recorded)
            case _:
                pass

    def finish(self, until: datetime) -> Workload:
        """Count what still runs for as long as it has."""
        for run in self._runs.values():
            self.workload.running[run.trial_id] = (run.began, run.done_s)
            self._add(run, until)
        self.workload.stop_s = median(self._stops_s) if self._stops_s else 0.0
        return self.workload

    def _anchor(self, recorded: Recorded) -> None:
        event, time = recorded.event, recorded.envelope.time
        if isinstance(event, TrialEvent) and (run := self._runs.get(event.allocation_id)):
            work_s = run.done_s + (time - run.began).total_seconds()
            anchor = Anchor(seq=recorded.seq, trial_id=run.trial_id, number=run.number, work_s=work_s)
            self._anchors[recorded.seq] = anchor, time
        elif found := [cause for cause in recorded.envelope.causes if cause in self._anchors]:
            self._anchors[recorded.seq] = self._anchors[max(found)]

    def _demand(self, recorded: Recorded, event: DemandEvent) -> None:
        found = self._anchors.get(recorded.seq)
        anchor, at = found or (None, recorded.envelope.time)
        delay_s = max(0.0, (recorded.envelope.time - at).total_seconds())
        demand = Demand(said=recorded, anchor=anchor, delay_s=delay_s)
        self.workload.demands.setdefault(event.trial_id, []).append(demand)

    def _release(self, event: GPUReleased, time: datetime) -> None:
        run, asked = self._runs.pop(event.allocation_id, None), self._asked.pop(event.allocation_id, None)
        if run is None or event.reason not in (ReleaseReason.EXITED, ReleaseReason.PREEMPTED):
            return
        self._add(run, time)
        if asked is not None:
            self._stops_s.append((time - asked).total_seconds())

    def _add(self, run: _Run, time: datetime) -> None:
        self.workload.demands[run.trial_id][run.number].work_s += max(0.0, (time - run.began).total_seconds())


def workload_of(log: Iterable[Recorded]) -> Workload:
    """Return the workload in a log."""
    reader, until = _Reader(), None
    for recorded in log:
        if recorded.event is not None:
            reader.read(recorded)
            until = recorded.envelope.time
    return reader.finish(until) if until is not None else reader.workload
