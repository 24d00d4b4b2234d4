"""Inclusion proofs: one event, the path from it to the root that a seal signs, and nothing else of the log."""

from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.audit.merkle import inclusion_path, root_of_path
from shared.audit.record import leaf_of
from shared.audit.seal import Head, head_of, is_signed, tree_before
from shared.events import AuditSealed

MAX_SEQ = 2**53 - 1


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """That an event is on the log. In JSON the bytes are base64."""

    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    subject: str
    body: bytes
    path: Annotated[list[bytes], Meta(max_length=64)]
    seal_seq: int
    seal: Head


def prove(
    seq: int,
    subject: str,
    body: bytes,
    covering: AuditSealed,
    leaves: Sequence[bytes],
    against: tuple[int, AuditSealed],
) -> Proof:
    """Return the proof that an event is under a seal, which is given with its sequence.

    `covering` is the seal whose range the event is in; `leaves` are those from the beginning of that range to the end
    of the seal proved against, which may be the same or any later one.
    """
    path = inclusion_path(seq - 1, tree_before(covering), leaves)
    return Proof(seq=seq, subject=subject, body=body, path=path, seal_seq=against[0], seal=head_of(against[1]))


def doubts(proof: Proof, trusted_keys: Collection[bytes] = ()) -> list[str]:
    """Return why a proof proves nothing; nothing if it does. O(log n) of the log's length."""
    found = []
    if not is_signed(proof.seal):
        found.append("the seal is forged: its signature is not over what it says")
    if trusted_keys and proof.seal.public_key not in trusted_keys:
        found.append(f"the seal is signed with another key, {proof.seal.public_key.hex()}")
    leaf = leaf_of(proof.seq, proof.subject, proof.body)
    if root_of_path(proof.seq - 1, proof.seal.last, leaf, proof.path) != proof.seal.root:
        found.append(f"the path does not lead from event {proof.seq} to the root that is sealed")
    return found
