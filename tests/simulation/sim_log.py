"""A log in memory with the real one's rules: one total order, optimistic appends, writers kept to their own facts."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from shared.decisions import Decision
from shared.events import Event
from shared.log import Recorded, envelope_of

StateT = TypeVar("StateT")


class SimulatedLog:
    """Stores events; `watch` sees each as it is stored."""

    def __init__(self, watch: Callable[[Recorded], None]) -> None:
        self.events: list[Recorded] = []
        self.num_conflicts = 0
        self._last: dict[tuple[str, str, str], int] = {}
        self._watch = watch

    def append(self, writer: str, decisions: Iterable[Decision], *, expected: int) -> int | None:
        """Append events about one aggregate, all or none; None when the expectation is stale."""
        batch = list(decisions)
        first = batch[0].event
        key = (writer, first.aggregate, first.aggregate_id)
        if self._last.get(key, 0) != expected:
            self.num_conflicts += 1
            return None
        for decision in batch:
            self._store(writer, decision.event, decision.causes)
        self._last[key] = len(self.events)
        return len(self.events)

    def say(self, writer: str, event: Event) -> None:
        """Append what needs no expectation in a simulation: users' wishes and agents' reports."""
        self._store(writer, event, ())

    def _store(self, writer: str, event: Event, causes: tuple[int, ...]) -> None:
        rightful = event.writer if event.writer != "worker" else f"worker-{getattr(event, 'agent_id', '')}"
        assert writer == rightful, f"{writer} says {type(event).__name__}"
        assert all(0 < cause <= len(self.events) for cause in causes), f"{event} is caused by the future: {causes}"
        envelope = envelope_of(event, writer=writer, actor=writer, correlation="simulation", causes=causes)
        recorded = Recorded(seq=len(self.events) + 1, envelope=envelope)
        self.events.append(recorded)
        self._watch(recorded)


class SimulatedService(Generic[StateT]):
    """A decider behind a log: folds late, decides on what it has folded, forgets everything when it crashes."""

    def __init__(
        self,
        log: SimulatedLog,
        writer: str,
        make_state: Callable[[], StateT],
        evolve: Callable[[StateT, Recorded], None],
        decide: Callable[[StateT], list[Decision]],
        check: Callable[[StateT], None],
    ) -> None:
        self._log, self._writer = log, writer
        self._make_state, self._evolve, self._decide, self._check = make_state, evolve, decide, check
        self.crash()

    def crash(self) -> None:
        """Lose all memory: a new process folds from the beginning."""
        self.state = self._make_state()
        self.position = 0
        self._last_of: dict[tuple[str, str], int] = {}

    def fold(self, count: int | None = None) -> None:
        """Fold the next `count` events, or all there are."""
        end = len(self._log.events) if count is None else self.position + count
        for recorded in self._log.events[self.position : end]:
            event = recorded.event
            assert event is not None
            if recorded.envelope.writer == self._writer:
                self._last_of[event.aggregate, event.aggregate_id] = recorded.seq
            self._evolve(self.state, recorded)
            self._check(self.state)
            self.position = recorded.seq

    def act(self, *, lose_after: int | None = None) -> int:
        """Decide on what was folded, stale or not, and append; a crash after `lose_after` appends loses the rest.

        Returns how many events it wanted.
        """
        decisions = self._decide(self.state)
        groups: dict[tuple[str, str], list[Decision]] = {}
        for decision in decisions:
            groups.setdefault((decision.event.aggregate, decision.event.aggregate_id), []).append(decision)
        for number, (aggregate, batch) in enumerate(groups.items()):
            if number == lose_after:
                self.crash()
                break
            if self._log.append(self._writer, batch, expected=self._last_of.get(aggregate, 0)) is None:
                break
        return len(decisions)
