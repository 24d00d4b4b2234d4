"""The wire format: every stored version decodes for ever, and nothing hostile gets through."""

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import codec
from shared.codec import Undecodable
from shared.events import CATALOGUE, Event
from shared.log import Message, decode_recorded
from shared.narrate import sentence
from tests.shared.samples import GROUNDED, SAMPLES, envelope

GOLDEN = Path(__file__).parents[1] / "golden"


def test_every_event_type_has_a_sample() -> None:
    assert {type(event).__name__ for event in SAMPLES} == set(CATALOGUE)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_the_stored_bytes_of_each_version_decode_to_the_same_event(event: Event) -> None:
    golden = (GOLDEN / f"{type(event).__name__}.v{event.version}.msgpack").read_bytes()
    assert codec.decode(golden).event == event
    assert codec.encode(envelope(event)) == golden, "an event's shape changed: raise its version, add an upcaster"


@pytest.mark.parametrize("event", GROUNDED, ids=lambda event: type(event).__name__)
def test_the_stored_bytes_of_grounds_decode_to_the_same_event(event: Event) -> None:
    golden = (GOLDEN / f"{type(event).__name__}.v{event.version}.grounds.msgpack").read_bytes()
    assert codec.decode(golden).event == event
    assert codec.encode(envelope(event)) == golden, (
        "grounds changed: a new field needs a default, other changes a version"
    )


def test_every_stored_sample_still_decodes() -> None:
    for path in GOLDEN.glob("*.msgpack"):
        assert codec.decode(path.read_bytes()).event is not None, path.name


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_every_event_has_a_sentence_of_its_own(event: Event) -> None:
    assert sentence.dispatch(type(event)) is not sentence.dispatch(object)
    assert sentence(event)


def test_an_unknown_type_is_an_envelope_without_an_event() -> None:
    body = _tampered(type="SomethingNew")
    assert codec.decode(body).event is None


def test_a_field_from_a_newer_minor_version_is_ignored() -> None:
    data = msgspec.msgpack.encode({"experiment_id": "k3f9x2ab", "colour": "blue"})
    assert codec.decode(_tampered(data=msgspec.Raw(data))).event == SAMPLES[1]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"not msgpack", b"\x80", b"\xff" * 100])
def test_bytes_that_are_no_event_are_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        codec.decode(body)


def test_a_newer_version_is_undecodable_rather_than_misread() -> None:
    with pytest.raises(Undecodable, match="newer"):
        codec.decode(_tampered(tmversion=99))


def test_a_missing_field_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="experiment_id"):
        codec.decode(_tampered(data=msgspec.Raw(msgspec.msgpack.encode({}))))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder(body: bytes) -> None:
    with contextlib.suppress(Undecodable):
        codec.decode(body)


def test_a_body_that_lies_about_its_writer_is_set_aside() -> None:
    event = SAMPLES[1]
    honest = envelope(event)
    subject = "tm.searcher.experiment.k3f9x2ab.ExperimentPaused"
    message = Message(seq=1, subject=subject, body=codec.encode(honest), stored_ns=0)
    with pytest.raises(Undecodable, match="subject says"):
        decode_recorded(message)


def test_only_the_scheduler_can_say_that_slots_were_given() -> None:
    event = next(event for event in SAMPLES if type(event).__name__ == "GPUAllocated")
    forged = msgspec.structs.replace(envelope(event), writer="worker-gpu7")
    message = Message(seq=1, subject=str(forged.subject), body=codec.encode(forged), stored_ns=0)
    with pytest.raises(Undecodable, match="only scheduler may"):
        decode_recorded(message)


def test_an_agent_cannot_speak_for_another() -> None:
    event = next(event for event in SAMPLES if type(event).__name__ == "TrialExited")
    forged = msgspec.structs.replace(envelope(event), writer="worker-other")
    message = Message(seq=1, subject=str(forged.subject), body=codec.encode(forged), stored_ns=0)
    with pytest.raises(Undecodable, match="only worker-gpu7 may"):
        decode_recorded(message)


def _tampered(**changes: object) -> bytes:
    wire = msgspec.msgpack.decode(codec.encode(envelope(SAMPLES[1])), type=dict[str, msgspec.Raw])
    encode = msgspec.msgpack.encode
    for name, value in changes.items():
        wire[name] = value if isinstance(value, msgspec.Raw) else msgspec.Raw(encode(value))
    return encode(wire)
