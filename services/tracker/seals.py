"""When the log is sealed, and over what. Pure: a fold of the messages that no seal covers yet."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from shared.audit.merkle import HASH_BYTES, Frontier
from shared.audit.record import CHAIN_START, leaf_of, link
from shared.audit.seal import Malformed, decode_seal, tree_before
from shared.audit.verify import SEAL_SUBJECT
from shared.events import AuditSealed
from shared.log import Message

LOST = bytes(HASH_BYTES)  # the leaf of a message that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """A seal is due after so many events, or when the oldest of them has waited so long."""

    max_events: int = 1_000
    max_wait: timedelta = timedelta(seconds=60)


@dataclass(slots=True, kw_only=True)
class Sealing:
    """The tree up to the newest seal and the leaves after it. `last_seal` is the sequence of that seal, 0 for none."""

    before: Frontier = field(default_factory=Frontier)
    chain: bytes = CHAIN_START
    leaves: deque[bytes] = field(default_factory=deque)
    stored: deque[datetime | None] = field(default_factory=deque)  # when; None: a seal, which waits for nothing
    sealed: int = 0
    last_seal: int = 0

    @classmethod
    def after(cls, seq: int, event: AuditSealed) -> "Sealing":
        """Return the state at the beginning of a seal's range; folding the range leads to its end. Raises Malformed."""
        return cls(before=tree_before(event), chain=event.chain_before, sealed=event.last, last_seal=seq)

    @property
    def position(self) -> int:
        """The sequence of the newest message that was folded."""
        return self.before.size + len(self.leaves)

    def evolve(self, message: Message) -> None:
        """Fold the next message of the log, whatever it holds."""
        while self.position + 1 < message.seq:  # the broker has lost it: the tree keeps its place
            self.leaves.append(LOST)
            self.stored.append(None)
        is_seal = message.subject == SEAL_SUBJECT
        self.leaves.append(leaf_of(message.seq, message.subject, message.body))
        self.stored.append(None if is_seal else message.stored_at)
        if is_seal:
            self.cover(message.seq, message.body)
        self._advance()

    def cover(self, seq: int, body: bytes) -> None:
        """Take note of a seal, of ours or of another instance's. What is no good seal counts as an event only."""
        self.last_seal = max(self.last_seal, seq)
        try:
            event = decode_seal(body)
        except Malformed:
            return
        self.sealed = max(self.sealed, min(event.last, seq - 1))
        self._advance()

    def due(self, now: datetime, rhythm: Rhythm) -> list[bytes]:
        """Return the leaves to seal now, none if it is not time. A log in which only seals are new is left alone."""
        oldest = next((stored for stored in self.stored if stored is not None), None)
        if oldest is None:
            return []
        if len(self.leaves) >= rhythm.max_events:
            return list(islice(self.leaves, rhythm.max_events))
        return list(self.leaves) if now - oldest >= rhythm.max_wait else []

    def _advance(self) -> None:
        while self.leaves and self.before.size < self.sealed:
            leaf = self.leaves.popleft()
            self.stored.popleft()
            self.before.append(leaf)
            self.chain = link(self.chain, leaf)
