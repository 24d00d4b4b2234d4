"""A log with times, written by the real decider: what `tm whatif` reads."""

from datetime import UTC, datetime, timedelta

import msgspec

from services.scheduler.decide import decide
from services.scheduler.memory import State
from services.scheduler.state import evolve
from shared import codec
from shared.events import DEFAULT_POLICY, Event, GPUAllocated, PoolPolicy
from shared.log import Recorded, envelope_of

START = datetime(2030, 1, 1, tzinfo=UTC)


class Timeline:
    """Says events at times (in seconds, ascending) and lets the scheduler decide after each."""

    def __init__(self, policy: PoolPolicy = DEFAULT_POLICY) -> None:
        self.events: list[Recorded] = []
        self.running: dict[str, GPUAllocated] = {}
        self._state = State()
        self._policy = policy

    def say(self, at_s: float, *events: Event, causes: tuple[int, ...] = (), silent_s: float = 0.0) -> None:
        """Say events, then let the scheduler decide until it has nothing more to say."""
        for event in events:
            self._store(event, event.rightful_writer, at_s, causes, None, "test")
        self.decide(at_s, silent_s)

    def decide(self, at_s: float, silent_s: float = 0.0) -> None:
        """Let the scheduler decide, no agent having been heard for so long."""
        now = START + timedelta(seconds=at_s)
        silences_s = dict.fromkeys(self._state.agents, silent_s)
        while decisions := decide(self._state, silences_s, now=now, agent_timeout_s=10, policy=self._policy):
            position = len(self.events)
            for decision in decisions:
                self._store(decision.event, "scheduler", at_s, decision.causes, position, decision.correlation)

    def _store(
        self, event: Event, writer: str, at_s: float, causes: tuple[int, ...], position: int | None, correlation: str
    ) -> None:
        envelope = envelope_of(
            event, writer=writer, actor=writer, correlation=correlation, causes=causes, position=position,
            time=START + timedelta(seconds=at_s),
        )  # fmt: skip
        recorded = Recorded(seq=len(self.events) + 1, envelope=envelope)
        self.events.append(recorded)
        evolve(self._state, recorded)
        if isinstance(event, GPUAllocated):
            self.running[event.trial_id] = event

    @property
    def last(self) -> int:
        """The sequence of the newest event."""
        return len(self.events)


def lines(events: list[Recorded]) -> bytes:
    """The log as `tm export` writes it."""
    return b"".join(
        msgspec.json.encode(
            {"seq": recorded.seq, "subject": str(recorded.envelope.subject), "body": codec.encode(recorded.envelope)}
        )
        + b"\n"
        for recorded in events
    )
