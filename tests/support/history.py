"""Histories for decider tests: events get sequence numbers and are folded as the log would."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from shared.events import Event
from shared.log import Recorded, envelope_of

StateT = TypeVar("StateT")

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


class History(Generic[StateT]):
    """A state and the events folded into it; sequences count from 1."""

    def __init__(
        self, state: StateT, evolve: Callable[[StateT, Recorded], None], check: Callable[[StateT], None]
    ) -> None:
        self.state = state
        self.events: list[Event] = []
        self._evolve = evolve
        self._check = check

    def fold(self, events: Iterable[Event]) -> None:
        """Append and fold events, checking the state's invariants after each."""
        for event in events:
            self.events.append(event)
            time = BEGIN + timedelta(milliseconds=len(self.events))
            envelope = envelope_of(event, writer="test", actor="test", correlation="test", time=time)
            self._evolve(self.state, Recorded(seq=len(self.events), envelope=envelope))
            self._check(self.state)

    def seq_of(self, event_type: type[Event]) -> int:
        """The sequence of the newest event of a type."""
        return max(seq for seq, event in enumerate(self.events, start=1) if isinstance(event, event_type))
