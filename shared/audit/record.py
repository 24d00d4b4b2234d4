"""What is hashed of an event, and the hash chain over the stream."""

import struct
from hashlib import sha256

from shared.audit.merkle import HASH_BYTES, hash_leaf

CHAIN_START = bytes(HASH_BYTES)

_CHAIN = b"\x02"
_head = struct.Struct(">QI")


def record(seq: int, subject: str, body: bytes) -> bytes:
    """Return the canonical bytes of an event: sequence (8 bytes, big-endian), length of the subject (4), subject, body.

    The time at which the broker stored it is left out: it is no one's statement, and the body has a time of its own.
    """
    name = subject.encode()
    return _head.pack(seq, len(name)) + name + body


def leaf_of(seq: int, subject: str, body: bytes) -> bytes:
    """Return the hash of an event."""
    return hash_leaf(record(seq, subject, body))


def link(chain: bytes, leaf: bytes) -> bytes:
    """Return the chain's value after one more event."""
    return sha256(_CHAIN + chain + leaf).digest()
