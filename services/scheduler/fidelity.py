"""Makes the scheduler's recorded decisions again from the log, and compares them bit for bit.

Each event that a scheduler decided says in its envelope up to which position the scheduler had folded and at which time
it decided. Folding the same log to the same position and calling the same `decide` at that time must give the same
events, causes included: fields, order and all. What only that process knew is on the log, too, and is taken from
there: how long lost agents had been silent, whom it refused, and which policy its setting named.

A decision of more events than fit one append is appended in parts; when another part is refused, because somebody
else appended in between, the parts before stand. So of such a decision the beginning counts.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

import msgspec

from services.scheduler.decide import decide
from services.scheduler.memory import State
from services.scheduler.state import evolve
from shared import codec
from shared.decisions import Decision
from shared.events import AgentLost, AgentRefused, DefaultPolicySet, Event, LeaderElected
from shared.log import MAX_BATCH, Recorded
from shared.subjects import SCHEDULER

MAX_DIFFERENCES = 10  # that are shown
FOR_EVER_S = 1e9
ROUNDED_S = 0.001  # the silence in an AgentLost


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first event of a decision that did not come out as it was recorded; None where there is none."""

    seq: int
    position: int
    recorded: str | None
    decided: str | None


class Fidelity(msgspec.Struct, kw_only=True):
    """How many of the recorded decisions are reproduced. `num_unplaced` events do not say from what they were decided:
    an older program wrote them."""

    num_decisions: int = 0
    num_reproduced: int = 0
    num_events: int = 0
    num_unplaced: int = 0
    differences: list[Difference] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """From where and when a decision was taken."""

    position: int
    time: datetime


class Replay:
    """Reads a log in order; `finish` says what came of it."""

    def __init__(self, batch_size: int = MAX_BATCH) -> None:
        self.fidelity = Fidelity()
        self._state = State()
        self._batch_size = batch_size
        self._unfolded: deque[Recorded] = deque()
        self._moment: _Moment | None = None
        self._decision: list[Recorded] = []

    def read(self, recorded: Recorded) -> None:
        """Take the next event of the log."""
        envelope = recorded.envelope
        if (
            envelope.writer == SCHEDULER
            and not isinstance(recorded.event, LeaderElected)
            and recorded.event is not None
        ):
            if envelope.position is None:
                self.fidelity.num_unplaced += 1
            else:
                self._add(recorded, _Moment(position=envelope.position, time=envelope.time))
        if recorded.event is not None:
            self._unfolded.append(recorded)

    def finish(self) -> Fidelity:
        """Return the findings, the last decision included."""
        self._judge()
        return self.fidelity

    def _add(self, recorded: Recorded, moment: _Moment) -> None:
        if moment != self._moment:
            self._judge()
            self._moment = moment
        self._decision.append(recorded)

    def _judge(self) -> None:
        if self._moment is None:
            return
        while self._unfolded and self._unfolded[0].seq <= self._moment.position:
            evolve(self._state, self._unfolded.popleft())
        decided = decide_again(self._state, [recorded.event for recorded in self._decision], self._moment.time)
        if len(self._decision) < len(decided) and len(self._decision) % self._batch_size == 0:
            decided = decided[: len(self._decision)]
        self.fidelity.num_decisions += 1
        self.fidelity.num_events += len(self._decision)
        difference = _first_difference(self._decision, decided, self._moment.position)
        if difference is None:
            self.fidelity.num_reproduced += 1
        elif len(self.fidelity.differences) < MAX_DIFFERENCES:
            self.fidelity.differences.append(difference)
        self._moment, self._decision = None, []


def decide_again(state: State, recorded: Iterable[Event | None], now: datetime) -> list[Decision]:
    """Return what the scheduler decides in a state at a time, having heard what it must have heard."""
    events = list(recorded)
    lost = {event.agent_id: event.silent_s for event in events if isinstance(event, AgentLost)}
    timeout_s = min(lost.values(), default=FOR_EVER_S) - ROUNDED_S
    refused = {(event.agent_id, event.incarnation) for event in events if isinstance(event, AgentRefused)}
    contested = {name for name, by in state.claimants.items() if (by.agent_id, by.incarnation) in refused}
    settings = [event.policy for event in events if isinstance(event, DefaultPolicySet)]
    policy = settings[0] if settings else state.default_policy
    return decide(state, lost, now=now, agent_timeout_s=timeout_s, policy=policy, contested=contested)


def _first_difference(recorded: list[Recorded], decided: list[Decision], position: int) -> Difference | None:
    for was, now in zip_longest(recorded, decided):
        if was is None or now is None or _bytes_of(was) != _bytes_of(now):
            return Difference(
                seq=(was or recorded[-1]).seq,
                position=position,
                recorded=None if was is None else _text(was.event, was.envelope.causes),
                decided=None if now is None else _text(now.event, now.causes),
            )
    return None


def _bytes_of(decided: Recorded | Decision) -> tuple[str, bytes, tuple[int, ...], str]:
    source = decided.envelope if isinstance(decided, Recorded) else decided
    assert decided.event is not None
    return type(decided.event).__name__, codec.data(decided.event), source.causes, source.correlation


def _text(event: Event | None, causes: tuple[int, ...]) -> str:
    assert event is not None
    return f"{type(event).__name__} {msgspec.json.encode(event).decode()} because of {list(causes)}"
