"""Whatever is done to a log or to a file of it is found and named."""

from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared import codec
from shared.audit.findings import Kind, Report
from shared.audit.seal import decode_seal, head_of
from shared.audit.verify import SEAL_SUBJECT, Verification
from shared.log import Message
from tests.audit.sealed import KEY, OTHER_KEY, MemoryLog, verified
from trainmaster.client import parquet
from trainmaster.client.export import Exporter, RawEvent, json_lines, verify_lines

NUM_EVENTS = 23  # with 5 seals among them and 3 events after the last: 28 in all


@cache
def history() -> tuple[Message, ...]:
    log = MemoryLog()
    log.tell(NUM_EVENTS)
    return tuple(log.messages)


@cache
def lines() -> tuple[bytes, ...]:
    raw = (RawEvent(seq=one.seq, subject=one.subject, body=one.body) for one in history())
    return tuple(json_lines(Exporter(is_whole=True), map(msgspec.json.encode, raw)))


def verified_file(changed: list[bytes]) -> Report:
    verification = Verification()
    verify_lines(changed, verification)
    return verification.finish()


SEALED = max(decode_seal(one.body).last for one in history() if one.subject == SEAL_SUBJECT)
LAST = len(history())
IN_LOG = st.integers(0, SEALED - 1)
IN_FILE = st.integers(0, LAST - 1)


def test_an_untouched_log_is_good() -> None:
    report = verified(list(history()), KEY.public)
    assert report.ok
    assert (report.num_events, report.num_seals, report.sealed, report.unsealed) == (LAST, 5, SEALED, LAST - SEALED)
    assert report.public_keys == [KEY.public.hex()]


def test_an_untouched_file_is_good() -> None:
    assert verified_file(list(lines())).ok


@given(IN_LOG, st.data())
def test_a_changed_byte_names_its_event(at: int, data: st.DataObject) -> None:
    messages = list(history())
    body = bytearray(messages[at].body)
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    messages[at] = replace(messages[at], body=bytes(body))
    assert at + 1 in {finding.first for finding in verified(messages).findings if finding.kind is Kind.CHANGED} | {
        finding.first for finding in verified(messages).findings if finding.kind is Kind.FORGED
    }


@given(IN_LOG)
def test_a_dropped_event_is_named(at: int) -> None:
    findings = verified(list(history()[:at] + history()[at + 1 :])).findings
    assert (Kind.MISSING, at + 1) in [(finding.kind, finding.first) for finding in findings]


@given(IN_LOG)
def test_a_dropped_event_is_named_even_when_the_rest_was_renumbered(at: int) -> None:
    kept = history()[:at] + history()[at + 1 :]
    findings = verified([replace(message, seq=seq) for seq, message in enumerate(kept, start=1)]).findings
    kinds = [(finding.kind, finding.first) for finding in findings]
    if any(decode_seal(one.body).last == at + 1 for one in history() if one.subject == SEAL_SUBJECT):
        assert kinds  # the last of a range has none behind it that tells
    else:
        assert kinds[0] == (Kind.MISSING, at + 1)


@given(st.integers(0, SEALED - 2))
def test_two_reordered_events_are_named(at: int) -> None:
    messages = list(history())
    messages[at], messages[at + 1] = messages[at + 1], messages[at]
    findings = verified(messages).findings
    assert [(finding.kind, finding.first) for finding in findings] == [(Kind.MOVED, at + 1)]


def test_two_events_that_changed_places_and_numbers_are_named() -> None:
    messages = list(history())
    messages[6], messages[8] = replace(messages[8], seq=7), replace(messages[6], seq=9)
    (finding,) = verified(messages).findings
    assert (finding.kind, finding.first, finding.last) == (Kind.MOVED, 7, 9)


def test_an_event_that_stands_there_twice_is_named() -> None:
    messages = [*history()[:4], history()[3], *history()[4:]]
    (finding,) = verified(messages).findings
    assert (finding.kind, finding.first) == (Kind.REPEATED, 4)


def test_a_forged_seal_is_named() -> None:
    at = next(at for at, message in enumerate(history()) if message.subject == SEAL_SUBJECT)
    event = decode_seal(history()[at].body)
    envelope = codec.decode(history()[at].body)
    forged = msgspec.structs.replace(envelope, event=msgspec.structs.replace(event, root=bytes(32)))
    messages = list(history())
    messages[at] = replace(messages[at], body=codec.encode(forged))
    assert (Kind.FORGED, at + 1) in [(one.kind, one.first) for one in verified(messages).findings]


def test_a_log_that_was_sealed_anew_with_another_key_is_found_by_who_knows_the_key() -> None:
    log = MemoryLog(key=OTHER_KEY)
    log.tell(NUM_EVENTS)
    assert verified(log.messages).ok
    kinds = {finding.kind for finding in verified(log.messages, KEY.public).findings}
    assert kinds == {Kind.FORGED}


def test_seals_of_another_log_do_not_continue_this_one() -> None:
    other = MemoryLog()
    other.say(decode_seal(history()[5].body))  # something else at the beginning
    other.tell(NUM_EVENTS)
    messages = [*history()[:12], *other.messages[12:]]
    assert Kind.INCONSISTENT in {finding.kind for finding in verified(messages).findings}


@settings(max_examples=300)
@given(IN_FILE, st.data())
def test_a_changed_byte_anywhere_in_a_file_names_its_event(at: int, data: st.DataObject) -> None:
    changed = list(lines())
    line = bytearray(changed[at])
    place = data.draw(st.integers(0, len(line) - 2))
    line[place] ^= data.draw(st.integers(1, 255))
    changed[at] = bytes(line)
    stands = b"".join(changed)
    report = verified_file(stands.splitlines(keepends=True) if b"\n" in line[:-1] else changed)
    assert at + 1 in {finding.first for finding in report.findings}, line[max(0, place - 20) : place + 20]


@given(IN_FILE)
def test_a_line_dropped_from_a_file_is_named(at: int) -> None:
    findings = verified_file([*lines()[:at], *lines()[at + 1 :]]).findings
    assert (Kind.MISSING, at + 1) in [(finding.kind, finding.first) for finding in findings]


@given(st.integers(0, LAST - 2))
def test_two_lines_reordered_in_a_file_are_named(at: int) -> None:
    changed = list(lines())
    changed[at], changed[at + 1] = changed[at + 1], changed[at]
    findings = verified_file(changed).findings
    assert [(finding.kind, finding.first) for finding in findings] == [(Kind.MOVED, at + 1)]


def test_a_file_that_breaks_off_is_found() -> None:
    (finding,) = verified_file(list(lines()[:-1])).findings
    assert finding.kind is Kind.CUT


@given(st.data())
def test_a_changed_byte_in_the_last_line_is_found(data: st.DataObject) -> None:
    last = bytearray(lines()[-1])
    last[data.draw(st.integers(0, len(last) - 2))] ^= data.draw(st.integers(1, 127))
    assert not verified_file([*lines()[:-1], bytes(last)]).ok


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_no_bytes_crash_the_verification(garbage: list[bytes]) -> None:
    assert not verified_file(garbage).ok


def test_parquet_verifies_as_well(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    raw = (RawEvent(seq=one.seq, subject=one.subject, body=one.body) for one in history())
    parquet.write(tmp_path / "log.parquet", Exporter(is_whole=True), map(msgspec.json.encode, raw))
    verification = Verification()
    parquet.verify(tmp_path / "log.parquet", verification)
    report = verification.finish()
    assert report.ok and report.num_events == LAST


def test_what_is_signed_does_not_grow_with_the_range() -> None:
    assert len(msgspec.json.encode(head_of(decode_seal(history()[5].body)))) < 2000
