"""A log in memory with the real one's rules: one total order, optimistic appends, writers kept to their own facts."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from typing import Generic, TypeVar

from shared.decisions import Decision, Memory
from shared.events import Event
from shared.leadership import Leadership
from shared.log import Recorded, envelope_of

StateT = TypeVar("StateT")

TICK = timedelta(milliseconds=1)


class SimulatedLog:
    """Stores events; `watch` sees each as it is stored."""

    def __init__(self, watch: Callable[[Recorded], None]) -> None:
        self.events: list[Recorded] = []
        self.now = datetime(2030, 1, 1, tzinfo=UTC)  # moves on with each event
        self.num_conflicts = 0
        self.in_flight: list[Callable[[], object]] = []  # appends that a slow disk or network still holds
        self._last: dict[str, int] = {}  # writer -> its last event
        self._watch = watch

    def append(
        self, writer: str, decisions: Iterable[Decision], *, expected: int, position: int, now: datetime
    ) -> int | None:
        """Append a leader's events, decided at `position` and `now`, all or none; None when its service has said
        something else meanwhile."""
        if self._last.get(writer, 0) != expected:
            self.num_conflicts += 1
            return None
        for decision in decisions:
            self._store(writer, decision.event, decision.causes, position, now, decision.correlation)
        self._last[writer] = len(self.events)
        return len(self.events)

    def say(self, writer: str, event: Event) -> None:
        """Append what needs no expectation in a simulation: users' wishes and agents' reports."""
        self._store(writer, event, (), None, self.now, "simulation")

    def _store(
        self,
        writer: str,
        event: Event,
        causes: tuple[int, ...],
        position: int | None,
        time: datetime,
        correlation: str,
    ) -> None:
        assert writer == event.rightful_writer, f"{writer} says {type(event).__name__}"
        assert all(0 < cause <= len(self.events) for cause in causes), f"{event} is caused by the future: {causes}"
        self.now += TICK
        envelope = envelope_of(
            event, writer=writer, actor=writer, correlation=correlation, causes=causes, position=position, time=time
        )
        recorded = Recorded(seq=len(self.events) + 1, envelope=envelope)
        self.events.append(recorded)
        self._watch(recorded)


class Reply(Enum):
    """What becomes of an append on its way to the broker and back."""

    HEARD = "stored and acknowledged at once"
    LOST = "stored, the acknowledgement is lost"
    LATE = "stored late, after the sender has given up waiting"


class SimulatedService(Generic[StateT]):
    """A decider behind a log, as one of several instances: folds late, decides on what it has folded while it
    believes to lead, stands for election; when it crashes it starts from its last snapshot or from the beginning."""

    def __init__(
        self,
        log: SimulatedLog,
        writer: str,
        instance: str,
        make_state: Callable[[], StateT],
        evolve: Callable[[StateT, Recorded], None],
        decide: Callable[[StateT, datetime], list[Decision]],
        check: Callable[[StateT], None],
    ) -> None:
        self._log, self._writer, self._instance = log, writer, instance
        self._evolve, self._decide, self._check = evolve, decide, check
        self._num_lives = 0
        self._snapshot = (0, Memory(state=make_state()))
        self.crash()

    @property
    def state(self) -> StateT:
        """What it has folded."""
        return self._memory.state

    def save_snapshot(self) -> None:
        """Keep what was folded so far for the next life."""
        self._memory.leader = self.leadership.leader
        self._snapshot = (self.position, deepcopy(self._memory))

    def crash(self) -> None:
        """Lose all memory: a new process goes on from the snapshot."""
        self._num_lives += 1
        incarnation = f"{self._instance}/{self._num_lives}"
        self.leadership = Leadership(service=self._writer, instance=self._instance, incarnation=incarnation)
        self.position, self._memory = deepcopy(self._snapshot)
        self.leadership.leader = self._memory.leader
        self._settled = 0

    def fold(self, count: int | None = None) -> None:
        """Fold the next `count` events, or all there are."""
        end = len(self._log.events) if count is None else self.position + count
        for recorded in self._log.events[self.position : end]:
            if recorded.envelope.writer == self._writer:
                self._memory.last = recorded.seq
            self.leadership.evolve(recorded)
            self._evolve(self._memory.state, recorded)
            self._check(self._memory.state)
            self.position = recorded.seq

    def act(self, *, batch_size: int | None = None, leader_silent_s: float = 0.0, reply: Reply = Reply.HEARD) -> int:
        """Decide on what was folded, stale or not, and append; return how many events it wanted.

        With a `batch_size`, a crash loses what does not fit into the first batch.
        """
        if self.position < self._settled:
            return 0
        now = self._log.now
        if self.leadership.leads:
            decisions = self._decide(self._memory.state, now)
        else:
            election = self.leadership.candidacy(leader_silent_s)
            decisions = [Decision(event=election, causes=(), correlation=self._writer)] if election else []
        if batch := decisions[:batch_size]:
            self._append(batch, reply, now)
        if batch_size is not None and len(decisions) > batch_size:
            self.crash()
        return len(decisions)

    def _append(self, batch: list[Decision], reply: Reply, now: datetime) -> None:
        send = partial(
            self._log.append, self._writer, batch, expected=self._memory.last, position=self.position, now=now
        )
        if reply is Reply.LATE:
            self._log.in_flight.append(send)
            return
        seq = send()
        if seq is not None and reply is Reply.HEARD:
            self._memory.last = self._settled = seq
