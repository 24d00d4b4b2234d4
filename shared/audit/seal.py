"""Seals: made of the events since the last one, signed with Ed25519 (RFC 8032), and read."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared import codec
from shared.audit.merkle import Frontier
from shared.audit.record import link
from shared.codec import Undecodable
from shared.events import AuditSealed

LOG = "events"
PREFIX_BYTES = 8

_CONTEXT = b"trainmaster audit seal 1"


class Malformed(Exception):
    """A seal whose parts do not fit each other."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What of a seal is signed, in a size that does not depend on how many events it covers."""

    first: int
    last: int
    frontier_before: bytes
    chain_before: bytes
    root: bytes
    chain: bytes
    prefixes_sha256: bytes
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The secret that makes seals."""

    secret: bytes

    @property
    def public(self) -> bytes:
        """What a seal is checked with."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()

    def sign(self, statement: bytes) -> bytes:
        """Return the signature."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(statement)


def draw_signing_key() -> SigningKey:
    """Return a new key."""
    return SigningKey(Ed25519PrivateKey.generate().private_bytes_raw())


def seal(key: SigningKey, before: Frontier, chain_before: bytes, leaves: Sequence[bytes]) -> AuditSealed:
    """Return the signed seal over the events whose leaves follow a tree and a chain."""
    after, chain = extend(before, chain_before, leaves)
    unsigned = AuditSealed(
        log=LOG,
        first=before.size + 1,
        last=after.size,
        frontier_before=before.to_bytes(),
        chain_before=chain_before,
        root=after.root(),
        chain=chain,
        leaf_prefixes=b"".join(leaf[:PREFIX_BYTES] for leaf in leaves),
        public_key=key.public,
        signature=b"",
    )
    return msgspec.structs.replace(unsigned, signature=key.sign(_statement(head_of(unsigned))))


def extend(before: Frontier, chain: bytes, leaves: Sequence[bytes]) -> tuple[Frontier, bytes]:
    """Return the tree and the chain after more leaves."""
    after = before.copy()
    for leaf in leaves:
        after.append(leaf)
        chain = link(chain, leaf)
    return after, chain


def head_of(event: AuditSealed) -> Head:
    """Return the part of a seal that is signed."""
    return Head(
        first=event.first,
        last=event.last,
        frontier_before=event.frontier_before,
        chain_before=event.chain_before,
        root=event.root,
        chain=event.chain,
        prefixes_sha256=sha256(event.leaf_prefixes).digest(),
        public_key=event.public_key,
        signature=event.signature,
    )


def is_signed(head: Head) -> bool:
    """Say whether the signature is that of the public key the seal names, over all that it says."""
    try:
        Ed25519PublicKey.from_public_bytes(head.public_key).verify(head.signature, _statement(head))
    except (InvalidSignature, ValueError):
        return False
    return True


def decode_seal(body: bytes) -> AuditSealed:
    """Return the seal in a message body. Raises Malformed."""
    try:
        event = codec.decode(body).event
    except Undecodable as error:
        raise Malformed(str(error)) from error
    if not isinstance(event, AuditSealed):
        raise Malformed("it is no AuditSealed")
    return event


def tree_before(event: AuditSealed) -> Frontier:
    """Return the tree that a seal begins with. Raises Malformed, also when its prefixes are not those of its range."""
    num_events = event.last - event.first + 1
    if event.first < 1 or num_events < 1 or len(event.leaf_prefixes) != num_events * PREFIX_BYTES:
        raise Malformed(f"its prefixes are not those of events {event.first} to {event.last}")
    try:
        return Frontier.from_bytes(event.first - 1, event.frontier_before)
    except ValueError as error:
        raise Malformed(str(error)) from error


def _statement(head: Head) -> bytes:
    """Return the bytes that are signed: every field in order, each after its length."""
    numbers = (struct.pack(">q", number) for number in (head.first, head.last))
    hashes = (head.frontier_before, head.chain_before, head.root, head.chain, head.prefixes_sha256)
    parts = (_CONTEXT, LOG.encode(), *numbers, *hashes, head.public_key)
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)
