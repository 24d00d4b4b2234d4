"""What a stretch of the log, real or imagined, was like: how full the slots were, who waited how long, who was stopped.

The same measure for what happened and for what would have happened, so that the two can be compared.
"""

from dataclasses import dataclass, field
from functools import singledispatchmethod
from statistics import median, quantiles

import msgspec

from shared.events import (
    AgentJoined,
    AgentLeft,
    AgentLost,
    AgentRefused,
    Event,
    GPUAllocated,
    GPUReleased,
    PreemptionReason,
    PreemptionRequested,
    TrialClosed,
    TrialRequested,
)

#: Stops that the policy wanted, for others.
_PREEMPTIONS = (PreemptionReason.PRIORITY, PreemptionReason.FAIR_SHARE)


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from request to first start, of those that started."""

    median: float
    p95: float
    max: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch in numbers. `makespan_s`: from its begin to the last end of a trial."""

    trials: int
    started: int
    finished: int
    makespan_s: float
    utilisation: float  # used slot-seconds of those offered, until the last end
    wait_s: Waits
    wait_s_by_job: dict[str, Waits]
    preemptions: int
    stops: int  # all trials asked to stop, for whatever reason
    jain_fairness: float
    usage: list[tuple[float, int, int]]  # seconds from its begin, slots in use and offered from then on


@dataclass(slots=True, kw_only=True)
class _Life:
    job: str
    requested_s: float
    started_s: float | None = None
    ended_s: float | None = None
    held_s: float = 0.0
    held_since_s: float | None = None
    is_old: bool = False  # it had started before the stretch


@dataclass(slots=True, kw_only=True)
class Meter:
    """Sees a stretch's events in order, times in seconds from its begin."""

    lives: dict[str, _Life] = field(default_factory=dict)
    usage: list[tuple[float, int, int]] = field(default_factory=list)
    num_preemptions: int = 0
    num_stops: int = 0
    num_held: int = 0  # slots
    num_offered: int = 0
    _held: dict[str, int] = field(default_factory=dict)  # allocation -> slots
    _offered: dict[str, tuple[str, int]] = field(default_factory=dict)  # agent -> incarnation, slots

    def see(self, event: Event, at_s: float) -> None:
        """Take note of an event."""
        self._note(event, at_s)

    @singledispatchmethod
    def _note(self, event: Event, at_s: float) -> None:
        """Events that change none of this."""

    @_note.register
    def _(self, event: AgentJoined, at_s: float) -> None:
        before = self._offered.get(event.agent_id)
        if before is None or event.succeeds in (None, before[0]) or before[0] == event.incarnation:
            self.num_offered += len(event.slots) - (before[1] if before else 0)
            self._offered[event.agent_id] = (event.incarnation, len(event.slots))
            self._mark(at_s)

    @_note.register(AgentLeft)
    @_note.register(AgentLost)
    @_note.register(AgentRefused)
    def _(self, event: AgentLeft | AgentLost | AgentRefused, at_s: float) -> None:
        if self._offered.get(event.agent_id, ("", 0))[0] == event.incarnation:
            self.num_offered -= self._offered.pop(event.agent_id)[1]
            self._mark(at_s)

    @_note.register
    def _(self, event: TrialRequested, at_s: float) -> None:
        self.lives.setdefault(event.trial_id, _Life(job=event.experiment_id, requested_s=at_s))

    @_note.register
    def _(self, event: GPUAllocated, at_s: float) -> None:
        self._held[event.allocation_id] = sum(len(member.slots) for member in event.members)
        self.num_held += self._held[event.allocation_id]
        self._mark(at_s)
        if life := self.lives.get(event.trial_id):
            life.started_s = at_s if life.started_s is None else life.started_s
            life.held_since_s = at_s

    @_note.register
    def _(self, event: GPUReleased, at_s: float) -> None:
        self.num_held -= self._held.pop(event.allocation_id, 0)
        self._mark(at_s)
        life = self.lives.get(event.trial_id)
        if life and life.held_since_s is not None:
            life.held_s += at_s - life.held_since_s
            life.held_since_s = None

    @_note.register
    def _(self, event: PreemptionRequested, at_s: float) -> None:
        self.num_stops += 1
        self.num_preemptions += event.reason in _PREEMPTIONS

    @_note.register
    def _(self, event: TrialClosed, at_s: float) -> None:
        if life := self.lives.get(event.trial_id):
            life.ended_s = at_s

    def _mark(self, at_s: float) -> None:
        if self.usage and self.usage[-1][0] == at_s:
            self.usage.pop()
        self.usage.append((at_s, self.num_held, self.num_offered))

    def begin(self) -> None:
        """Count from here on: of what came before, only what is still going on plays a part."""
        self.lives = {trial_id: life for trial_id, life in self.lives.items() if life.ended_s is None}
        for life in self.lives.values():
            life.is_old = life.started_s is not None
        self.num_preemptions = self.num_stops = 0
        self.usage.clear()
        self._mark(0.0)

    def waits_s(self) -> list[float]:
        """Return how long each trial waited for its first start, of those that started in the stretch."""
        return [life.started_s - life.requested_s for life in self._started() if life.started_s is not None]

    def _started(self) -> list[_Life]:
        return [life for life in self.lives.values() if life.started_s is not None and not life.is_old]

    def figures(self) -> Figures:
        """Return what was seen, in numbers."""
        finished = [life for life in self.lives.values() if life.ended_s is not None]
        started = self._started()
        by_job: dict[str, list[_Life]] = {}
        for life in started:
            by_job.setdefault(life.job, []).append(life)
        makespan_s = max((life.ended_s or 0.0 for life in finished), default=0.0)
        return Figures(
            trials=len(self.lives),
            started=len(started),
            finished=len(finished),
            makespan_s=makespan_s,
            utilisation=utilisation(self.usage, makespan_s),
            wait_s=_waits(started),
            wait_s_by_job={job: _waits(lives) for job, lives in by_job.items()},
            preemptions=self.num_preemptions,
            stops=self.num_stops,
            jain_fairness=jain([_speed(lives) for lives in by_job.values()]),
            usage=self.usage,
        )


def utilisation(usage: list[tuple[float, int, int]], end_s: float) -> float:
    """Return which part of the slots offered up to a time was in use."""
    used = offered = 0.0
    for (at_s, held, of), (next_s, _, _) in zip(usage, [*usage[1:], (end_s, 0, 0)], strict=True):
        length_s = max(0.0, min(next_s, end_s) - max(0.0, at_s))
        used += held * length_s
        offered += of * length_s
    return used / offered if offered else 0.0


def jain(shares: list[float]) -> float:
    """Return Jain's index (Jain, Chiu, Hawe 1984): 1 when all jobs fare alike, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def waits(waits_s: list[float]) -> Waits:
    """Return what waits come to."""
    p95 = quantiles(waits_s, n=20, method="inclusive")[-1] if len(waits_s) > 1 else sum(waits_s, 0.0)
    middle = median(waits_s) if waits_s else 0.0
    return Waits(median=middle, p95=p95, max=max(waits_s, default=0.0))


def _waits(lives: list[_Life]) -> Waits:
    return waits([life.started_s - life.requested_s for life in lives if life.started_s is not None])


def _speed(lives: list[_Life]) -> float:
    """A job's mean progress: the part of their time that its finished trials held slots; 1 if none had to wait."""
    parts = [
        life.held_s / took_s if (took_s := life.ended_s - life.requested_s) > 0 else 1.0
        for life in lives
        if life.ended_s is not None
    ]
    return sum(parts) / len(parts) if parts else 1.0


def table(stretches: dict[str, Figures]) -> list[str]:
    """Return the figures of several stretches side by side."""
    rows = [
        ["", *stretches],
        ["trials finished", *(f"{figures.finished} of {figures.trials}" for figures in stretches.values())],
        ["last end after", *(duration(figures.makespan_s) for figures in stretches.values())],
        ["utilisation", *(f"{figures.utilisation:.1%}" for figures in stretches.values())],
        ["wait, median", *(duration(figures.wait_s.median) for figures in stretches.values())],
        ["wait, 95th percentile", *(duration(figures.wait_s.p95) for figures in stretches.values())],
        ["wait, longest", *(duration(figures.wait_s.max) for figures in stretches.values())],
        ["preemptions", *(str(figures.preemptions) for figures in stretches.values())],
        ["Jain's fairness", *(f"{figures.jain_fairness:.3f}" for figures in stretches.values())],
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration(seconds: float) -> str:
    """Return a length of time as people read it."""
    for unit, length_s in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.3g} {unit}"
    return f"{seconds:.3g} s"
