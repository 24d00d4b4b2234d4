"""Recomputes a search's decisions from the events on the log, and says whether each is what was recorded.

Every event that the searcher appended says up to which sequence it had folded by then. So each decision can be made
again: fold to there, decide, compare byte for byte what came of it with what the log holds. What a model suggested is
computed again, too. Events are read in the order of the log, and nothing is kept of what is folded but the state.

A decision may be recorded in part: what was not appended any more, because the searcher died, is decided again later.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from services.searcher.decide import SEARCH_STOPPED, About, Answers, decide, questions
from services.searcher.method import Answer, Question
from services.searcher.search import Search
from services.searcher.state import State, evolve
from shared import codec, narrate, subjects
from shared.decisions import Decision
from shared.events import Event, ExperimentFailed, FinalMetricPredicted, TrialClosed, TrialEnd, TrialRequested
from shared.ids import ExperimentId, trial_id
from shared.log import Recorded

Compute = Callable[[Question], Answer | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A recorded event that does not follow from those before it."""

    seq: int
    name: str
    text: str


@dataclass(slots=True, kw_only=True)
class Findings:
    """What came of it. `num_unplaced` events do not say from what they were decided: an older program wrote them."""

    experiment_id: ExperimentId
    num_decisions: int = 0
    num_reproduced: int = 0
    num_suggestions: int = 0  # computed again by a model
    num_unplaced: int = 0
    first_difference: Difference | None = None


@dataclass(slots=True)
class Reproduction:
    """Reads the log event after event; `compute` answers what a model is asked."""

    experiment_id: ExperimentId
    compute: Compute
    findings: Findings = field(init=False)
    _state: State = field(default_factory=State)
    _position: int = 0
    _unfolded: deque[Recorded] = field(default_factory=deque)
    _group: list[Recorded] = field(default_factory=list)  # what was decided from one position

    def __post_init__(self) -> None:
        self.findings = Findings(experiment_id=self.experiment_id)

    def read(self, recorded: Recorded) -> None:
        """Take the next event of the log."""
        if not self._matters(recorded.event):
            return
        if recorded.envelope.writer == subjects.SEARCHER:
            if self._group and self._group[0].envelope.position != recorded.envelope.position:
                self._check_group()
            self._group.append(recorded)
        self._unfolded.append(recorded)

    def finish(self) -> Findings:
        """Return the findings after the last event."""
        self._check_group()
        return self.findings

    def _matters(self, event: Event | None) -> bool:
        """Say whether an event is about the experiment or one of its trials."""
        experiment_id = getattr(event, "experiment_id", None)
        if experiment_id is None:
            experiment_id = str(getattr(event, "trial_id", "")).rpartition("-")[0]
        return bool(experiment_id == self.experiment_id)

    def _check_group(self) -> None:
        group, self._group = self._group, []
        position = group[0].envelope.position if group else None
        self.findings.num_decisions += len(group)
        if position is None:
            self.findings.num_unplaced += len(group)
            return
        if position < self._position:
            said = f"it was decided from event {position}, but the searcher had decided from event {self._position}"
            self._differs(group[0], said)
            return
        self._fold(position)
        self._compare(group, self._decide(group))

    def _fold(self, position: int) -> None:
        self._position = position
        while self._unfolded and self._unfolded[0].seq <= position:
            evolve(self._state, self._unfolded.popleft())

    def _decide(self, group: list[Recorded]) -> list[Decision]:
        """Decide again, with the answers that were there for what the group tells."""
        self._state.due = {self.experiment_id: None}
        outcomes: dict[About, Answer | str] = {}
        answers = {self.experiment_id: outcomes}
        if search := self._state.searches.get(self.experiment_id):
            while answered := self._next_outcome(group, search, answers):
                outcomes[answered[0]] = answered[1]
        return decide(self._state, answers)

    def _next_outcome(
        self, group: list[Recorded], search: Search, answers: Answers
    ) -> tuple[About, Answer | str] | None:
        for about, posed in questions(search, answers):
            is_upcoming = about[0] > search.num_requested
            outcome = (
                self._suggested(group, about[0], posed) if is_upcoming else self._predicted(group, about[0], posed)
            )
            if outcome is not None:
                return about, outcome
        return None

    def _predicted(self, group: list[Recorded], index: int, asked: Question) -> Answer | str | None:
        """Return what was predicted of a trial if the group tells it."""
        name = trial_id(self.experiment_id, index)
        for event in (one.event for one in group):
            if isinstance(event, FinalMetricPredicted) and event.trial_id == name:
                self.findings.num_suggestions += event.mean is not None
                return event.reason if event.mean is None else self.compute(asked)
        return None

    def _suggested(self, group: list[Recorded], index: int, asked: Question) -> Answer | str | None:
        """Return what came of a question if the group went by it. That a computation failed cannot be computed."""
        event = group[-1].event
        if isinstance(event, ExperimentFailed):
            return event.reason.partition(": ")[2]
        if isinstance(event, TrialClosed) and event.end is TrialEnd.COMPLETED:
            return event.reason.removeprefix(SEARCH_STOPPED) if event.reason.startswith(SEARCH_STOPPED) else None
        if not any(isinstance(one.event, TrialRequested) and one.event.index == index for one in group):
            return None
        self.findings.num_suggestions += 1
        return self.compute(asked)

    def _compare(self, group: list[Recorded], decisions: list[Decision]) -> None:
        for number, recorded in enumerate(group):
            decision = decisions[number] if number < len(decisions) else None
            said = next(differences(recorded, decision), None)
            if said is None:
                self.findings.num_reproduced += 1
            else:
                self._differs(recorded, said)

    def _differs(self, recorded: Recorded, said: str) -> None:
        if self.findings.first_difference is None:
            difference = Difference(seq=recorded.seq, name=recorded.envelope.name, text=said)
            self.findings.first_difference = difference


def differences(recorded: Recorded, decision: Decision | None) -> Iterator[str]:
    """Yield in plain words how a recorded event differs from the one decided again."""
    event = recorded.event
    assert event is not None
    if decision is None:
        yield f"nothing was to be decided here any more, but the log says: {narrate.sentence(event)}"
        return
    if type(event) is not type(decision.event):
        yield f"the log says: {narrate.sentence(event)}; but it follows: {narrate.sentence(decision.event)}"
        return
    if msgspec.msgpack.encode(event) != msgspec.msgpack.encode(decision.event):
        yield _first_field(codec.fields(event), codec.fields(decision.event))
    if recorded.envelope.causes != decision.causes:
        yield f"its causes are {recorded.envelope.causes} on the log, and {decision.causes} when it is decided again"


def _first_field(recorded: object, decided: object, path: str = "") -> str:
    if isinstance(recorded, dict) and isinstance(decided, dict):
        for name in {**recorded, **decided}:
            one, other = recorded.get(name), decided.get(name)
            if msgspec.msgpack.encode(one) != msgspec.msgpack.encode(other):
                return _first_field(one, other, f"{path}.{name}" if path else str(name))
    return f"its {path or 'order of fields'} is {recorded!r} on the log, and {decided!r} when it is decided again"
