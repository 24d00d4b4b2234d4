"""Inclusion proofs: every sealed event has one, and no other event fits it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.proof import Proof, doubts, prove
from shared.audit.record import leaf_of
from shared.audit.seal import decode_seal
from shared.audit.verify import SEAL_SUBJECT
from tests.audit.sealed import KEY, OTHER_KEY, MemoryLog

LOG = MemoryLog()
LOG.tell(50)
SEALS = [(message.seq, decode_seal(message.body)) for message in LOG.messages if message.subject == SEAL_SUBJECT]


def proof_of(seq: int, *, newest: bool) -> Proof:
    covering = next(one for one in SEALS if one[1].first <= seq <= one[1].last)
    against = SEALS[-1] if newest else covering
    messages = LOG.messages[covering[1].first - 1 : against[1].last]
    leaves = [leaf_of(message.seq, message.subject, message.body) for message in messages]
    message = LOG.messages[seq - 1]
    return prove(seq, message.subject, message.body, covering[1], leaves, against)


@given(seq=st.integers(1, SEALS[-1][1].last), newest=st.booleans())
def test_every_sealed_event_has_a_proof_that_survives_as_json(seq: int, *, newest: bool) -> None:
    proof = msgspec.json.decode(msgspec.json.encode(proof_of(seq, newest=newest)), type=Proof)
    assert not doubts(proof)
    assert not doubts(proof, [KEY.public])
    assert doubts(proof, [OTHER_KEY.public])


@given(seq=st.integers(1, SEALS[-1][1].last))
def test_a_proof_fits_no_other_event(seq: int) -> None:
    proof = proof_of(seq, newest=True)
    assert doubts(msgspec.structs.replace(proof, body=proof.body + b"\x00"))
    assert doubts(msgspec.structs.replace(proof, subject="tm.gateway.experiment.x.ExperimentPaused"))
    assert doubts(msgspec.structs.replace(proof, seq=seq + 1))
    assert doubts(msgspec.structs.replace(proof, path=proof.path[:-1]))
    forged = msgspec.structs.replace(proof.seal, last=proof.seal.last + 1)
    assert doubts(msgspec.structs.replace(proof, seal=forged))
