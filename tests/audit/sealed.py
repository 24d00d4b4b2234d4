"""A log in memory that seals itself as the tracker does."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from services.tracker.seals import Rhythm, Sealing
from shared import codec, log
from shared.audit.findings import Report
from shared.audit.seal import SigningKey, seal
from shared.audit.verify import Verification
from shared.events import Event
from shared.log import Message, nanoseconds
from tests.shared.samples import SAMPLES, envelope

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = SigningKey(bytes(range(32)))
OTHER_KEY = SigningKey(bytes(range(1, 33)))


@dataclass(slots=True)
class MemoryLog:
    """Messages, and the state of sealing them."""

    key: SigningKey = KEY
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(max_events=5))
    messages: list[Message] = field(default_factory=list)
    sealing: Sealing = field(default_factory=Sealing)

    @property
    def now(self) -> datetime:
        """One second passes with each message."""
        return START + timedelta(seconds=len(self.messages))

    def say(self, event: Event, number: int = 0) -> None:
        """Append an event; no two have the same body."""
        said = msgspec.structs.replace(envelope(event), id=f"{number:032}")
        self._append(str(said.subject), codec.encode(said))

    def tell(self, num_events: int) -> None:
        """Append events, and seals when they are due."""
        for number in range(num_events):
            self.say(SAMPLES[number % 10], number)
            self.seal()

    def seal(self, *, late: timedelta = timedelta(0)) -> bool:
        """Append a seal if one is due."""
        leaves = self.sealing.due(self.now + late, self.rhythm)
        if leaves:
            event = seal(self.key, self.sealing.before, self.sealing.chain, leaves)
            said = log.envelope_of(event, writer="tracker", actor="tracker", correlation="audit")
            self._append(str(said.subject), codec.encode(said))
        return bool(leaves)

    def _append(self, subject: str, body: bytes) -> None:
        message = Message(seq=len(self.messages) + 1, subject=subject, body=body, stored_ns=nanoseconds(self.now))
        self.messages.append(message)
        self.sealing.evolve(message)


def verified(messages: list[Message], *trusted: bytes) -> Report:
    """The report on messages as they stand."""
    verification = Verification(trusted)
    for message in messages:
        verification.read(message.seq, message.subject, message.body)
    return verification.finish()
