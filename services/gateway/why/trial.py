"""Why a trial is where it is: pure, from the events of its life and from what the scheduler says of its wait."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import singledispatch
from typing import NamedTuple

import msgspec

from services.gateway.views.why import Explanation
from services.gateway.why import words
from shared import narrate
from shared.events import (
    Event,
    FinalMetricPredicted,
    GPUAllocated,
    GPUReleased,
    Judgement,
    Outcome,
    PreemptionRequested,
    ReleaseReason,
    TrialCanceled,
    TrialClosed,
    TrialExited,
    TrialExtended,
    TrialRequested,
    TrialRetried,
    TrialStopped,
)
from shared.log import Recorded
from shared.queue import WaitingTrial

MAX_PLACEMENTS = 20  # of a trial that was moved about, the newest are explained


@dataclass(slots=True)
class Life:
    """Where a trial is, by what has happened to it."""

    requested: Recorded | None = None
    allocated: GPUAllocated | None = None  # while it holds slots
    since: datetime | None = None  # in this state
    asked: PreemptionRequested | None = None  # to stop, by these slots' owner
    stopped: TrialStopped | None = None
    exited: TrialExited | None = None  # and not been told yet how to go on
    closed: TrialClosed | None = None

    @property
    def waits(self) -> bool:
        """Whether it waits for slots."""
        return self.closed is None and self.allocated is None and not self.is_parked

    @property
    def is_parked(self) -> bool:
        """Whether it waits for what the search says of it."""
        return self.allocated is None and self.exited is not None and self.exited.outcome is not Outcome.INTERRUPTED

    def note(self, recorded: Recorded) -> None:
        """Take in one event of its life."""
        match recorded.event:
            case TrialRequested():
                self.requested = recorded
            case GPUAllocated() as allocated:
                self.allocated, self.asked = allocated, None
            case PreemptionRequested() as asked:
                self.asked = asked
            case TrialExited() as exited:
                self.exited = exited
                return
            case TrialStopped() as stopped:
                self.stopped = stopped
            case TrialExtended() | TrialRetried():
                self.exited = None
            case GPUReleased():
                self.allocated = self.asked = None
            case TrialClosed() as closed:
                self.closed, self.allocated = closed, None
            case _:
                return
        self.since = recorded.envelope.time


def life_of(events: Iterable[Recorded]) -> Life:
    """Return where the events of one trial's life, in order, have led to."""
    life = Life()
    for recorded in events:
        life.note(recorded)
    return life


def state(life: Life) -> str:
    """Return the state in one word."""
    if life.closed is not None:
        return str(life.closed.end)
    if life.allocated is None:
        return "PARKED" if life.is_parked else "WAITING"
    return "STOPPING" if life.asked or life.stopped else "RUNNING"


def head(life: Life, waiting: WaitingTrial | None) -> str:
    """Answer in a sentence why the trial is where it is now."""
    if life.closed is not None:
        return f"It is {life.closed.end}: {_first_line(life.closed.reason)}"
    if life.allocated is not None:
        agents = ", ".join(member.agent_id for member in life.allocated.members)
        if life.stopped:
            return f"It was told to stop by the search: {life.stopped.reason}"
        if life.asked:
            return f"It was asked to stop, on {agents}: {life.asked.reason}"
        return f"It runs on {agents}, attempt {life.allocated.epoch}"
    if life.is_parked:
        return "It has trained as far as it was told to and waits for what the search says: others must catch up first"
    return f"It waits: {waiting.text}" if waiting else "It waits for slots"


class Answer(NamedTuple):
    """Why one thing was decided: what about, as a question, its answer, and the same as structure."""

    topic: str
    question: str
    text: str
    detail: msgspec.Struct | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an explanation may go by besides its event: the events read so far, and the name of the metric."""

    known: Mapping[int, Recorded]
    metric: str


def explanations(trial_id: str, told: Told) -> list[Explanation]:
    """Return every decision about a trial that can be explained, oldest first."""
    found = []
    for seq in sorted(told.known):
        recorded = told.known[seq]
        if recorded.event is not None and getattr(recorded.event, "trial_id", None) == trial_id:
            answer = _why(recorded.event, recorded, told)
            found += [] if answer is None else [_explanation(answer, recorded)]
    early = [one for one in found if one.topic == "placement"][:-MAX_PLACEMENTS]
    return [one for one in found if one not in early]


def _explanation(answer: Answer, recorded: Recorded) -> Explanation:
    return Explanation(
        topic=answer.topic,
        question=answer.question,
        text=answer.text,
        seq=recorded.seq,
        time=recorded.envelope.time,
        detail=None if answer.detail is None else msgspec.Raw(msgspec.json.encode(answer.detail)),
    )


@singledispatch
def _why(event: Event, recorded: Recorded, told: Told) -> Answer | None:
    """Return why an event was decided; None for what is no decision, or explains itself."""
    return None


@_why.register
def _(event: TrialRequested, recorded: Recorded, told: Told) -> Answer | None:
    said = words.origin(event.chosen) if event.chosen else event.origin
    if event.retry_of:
        said = f"those of trial {event.retry_of}, which failed, once more; they were {said}"
    return Answer("hyperparameters", "Why these hyperparameters", said, event.chosen)


@_why.register
def _(event: GPUAllocated, recorded: Recorded, told: Told) -> Answer | None:
    if event.fit is None:
        return None
    said = words.fit(event.fit, [member.agent_id for member in event.members])
    return Answer("placement", f"Why there, attempt {event.epoch}", said, event.fit)


@_why.register
def _(event: PreemptionRequested, recorded: Recorded, told: Told) -> Answer | None:
    because = words.claim(event, event.claim) if event.claim else _because(recorded, told)
    said = f"{event.reason}: {because}" if because else str(event.reason)
    return Answer("preemption", "Why it was asked to stop", said, event.claim)


@_why.register
def _(event: FinalMetricPredicted, recorded: Recorded, told: Told) -> Answer | None:
    return Answer("prediction", f"What was expected of it at rung {event.rung}", narrate.sentence(event), None)


@_why.register
def _(event: TrialExtended, recorded: Recorded, told: Told) -> Answer | None:
    question = f"Why it went on to {event.target:,} units"
    return Answer("promotion", question, _judged(event.judgement, event.reason, told), event.judgement)


@_why.register
def _(event: TrialStopped, recorded: Recorded, told: Told) -> Answer | None:
    said = _judged(event.judgement, event.reason, told)
    return Answer("stop", "Why the search stopped it", said, event.judgement)


@_why.register
def _(event: TrialCanceled, recorded: Recorded, told: Told) -> Answer | None:
    return Answer("cancellation", "Who canceled it", cause_in_words(recorded), None)


@_why.register
def _(event: TrialRetried, recorded: Recorded, told: Told) -> Answer | None:
    said = words.failure(event.failure) if event.failure else event.reason
    return Answer("restart", f"Why it was restarted, restart {event.restarts}", said, event.failure)


@_why.register
def _(event: TrialClosed, recorded: Recorded, told: Told) -> Answer | None:
    said = _judged(event.judgement, event.reason, told)
    if event.failure is not None:
        said = f"{words.failure(event.failure)} ({_first_line(event.reason)})"
    return Answer("end", f"Why it is {event.end}", said, event.judgement or event.failure)


@_why.register
def _(event: TrialExited, recorded: Recorded, told: Told) -> Answer | None:
    """Explain what is no fault of the trial; its own failures are explained where it is restarted or closed."""
    if event.outcome is not Outcome.INTERRUPTED:
        return None
    said = f"the machine's fault, not counted as a restart: {_first_line(event.error or 'no reason given')}"
    return Answer("interruption", f"Why attempt {event.epoch} was interrupted", said, None)


@_why.register
def _(event: GPUReleased, recorded: Recorded, told: Told) -> Answer | None:
    if event.reason is not ReleaseReason.AGENT_LOST:
        return None
    said = f"an agent was lost, which is not counted as a restart: {_because(recorded, told)}"
    return Answer("interruption", f"Why attempt {event.epoch} was interrupted", said, None)


def _judged(judged: Judgement | None, reason: str, told: Told) -> str:
    return words.judgement(judged, told.metric) if judged else _first_line(reason)


def _because(recorded: Recorded, told: Told) -> str:
    """The causes of an event in words, and who said them where that was a person."""
    causes = [told.known[seq] for seq in recorded.envelope.causes if seq in told.known]
    return "; ".join(cause_in_words(cause) for cause in causes if cause.event is not None)


def cause_in_words(recorded: Recorded) -> str:
    """Return what an event says, and who had it said."""
    assert recorded.event is not None
    envelope = recorded.envelope
    whose = f" by {envelope.actor}" if envelope.actor != envelope.writer else ""
    return f"{narrate.sentence(recorded.event)}{whose}"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
