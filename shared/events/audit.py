"""Events of the audit (writer: tracker)."""

from typing import ClassVar

from shared.events.event import Event


class AuditSealed(Event, frozen=True, kw_only=True):
    """The log as it is up to event `last` was sealed: nothing in it can be changed any more without being found.
    The seals of one log follow on each other; `shared.audit` says how they are made and checked."""

    writer: ClassVar[str] = "tracker"
    aggregate: ClassVar[str] = "audit"
    aggregate_field: ClassVar[str] = "log"

    log: str  # which log: "events"
    first: int  # the first event after what the seal before covers
    last: int  # the newest event that this one covers
    frontier_before: bytes  # roots of the complete subtrees of the Merkle tree of events 1..first-1, largest first
    chain_before: bytes  # the hash chain after event first-1
    root: bytes  # of the Merkle tree of events 1..last
    chain: bytes  # the hash chain after event last
    leaf_prefixes: bytes  # the first 8 bytes of the hash of each event first..last
    public_key: bytes  # Ed25519; what it signs is all of the above
    signature: bytes
