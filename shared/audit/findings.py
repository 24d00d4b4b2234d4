"""What a verification finds, and its report."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong."""

    CHANGED = "changed"  # an event is not what was sealed, or not what its line says
    MISSING = "missing"  # an event was dropped
    MOVED = "moved"  # events stand in another order, or under another sequence
    REPEATED = "repeated"  # an event stands there twice
    FORGED = "forged"  # a seal that the log did not make
    INCONSISTENT = "inconsistent"  # seals that do not follow on each other, or do not fit their events
    CUT = "cut"  # a file that ends before its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with events `first` to `last`."""

    kind: Kind
    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was verified and what was found. Root and chain are those of the newest seal that is good."""

    num_events: int
    num_seals: int  # good ones
    sealed: int  # the log is sealed up to this event
    unsealed: int  # how many events come after it
    root: str
    chain: str
    public_keys: list[str]
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def events_named(first: int, last: int) -> str:
    """Return a range of events as a sentence names it."""
    return f"event {first}" if first == last else f"events {first} to {last}"
