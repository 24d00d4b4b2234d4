"""Exports of the log: one line or row an event, with its exact body, and what the body says in the clear.

A file of JSON lines ends with a line that says where the log ended: {"end": {"last": …, …}}. A
file of the whole log can be verified without the cluster: the clear columns are what the body says, the chain values
follow on each other, and the seals are on the log themselves.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from shared.audit.findings import Kind
from shared.audit.record import CHAIN_START, leaf_of, link
from shared.audit.verify import Verification


class RawEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the log, as the API gives it."""

    seq: int
    subject: str
    body: bytes


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One event of an export. The columns between subject and body are read off the body; None if it cannot be."""

    seq: int
    subject: str
    time: datetime | None = None
    name: str | None = None
    writer: str | None = None
    actor: str | None = None
    correlation: str | None = None
    causes: list[int] | None = None
    event: msgspec.Raw = msgspec.Raw(b"null")  # the fields as JSON
    body: bytes
    chain: str | None  # hex; None in a file that is only a part of the log


class End(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log ended."""

    last: int
    num_events: int
    is_whole: bool


class LastLine(msgspec.Struct, frozen=True, kw_only=True):
    """The last line."""

    end: End


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a body says, whatever the type and version of its event."""

    time: datetime
    type: str
    source: str
    actor: str
    correlation: str
    causes: list[int] = []
    data: dict[str, Any]


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    """What a line's other columns follow from."""

    seq: int
    subject: str
    body: bytes
    chain: str | None


_raw_decoder = msgspec.json.Decoder(RawEvent)
_said_decoder = msgspec.msgpack.Decoder(_Said)
_key_decoder = msgspec.json.Decoder(_Key)
_last_decoder = msgspec.json.Decoder(LastLine)
_encoder = msgspec.json.Encoder()

_UNREADABLE = (msgspec.MsgspecError, UnicodeError, TypeError, ValueError, RecursionError)


class Exporter:
    """Turns messages into rows, and knows at the end where the log ended."""

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._last = self._num_events = 0
        self._chain = CHAIN_START

    def rows(self, lines: Iterable[bytes]) -> Iterator[Row]:
        """Yield the row of each message that the API gave."""
        for line in lines:
            raw = _raw_decoder.decode(line)
            self._last, self._num_events = raw.seq, self._num_events + 1
            if self._is_whole:
                self._chain = link(self._chain, leaf_of(raw.seq, raw.subject, raw.body))
            yield row_of(raw.seq, raw.subject, raw.body, self._chain.hex() if self._is_whole else None)

    @property
    def end(self) -> End:
        """Where the log ended."""
        return End(last=self._last, num_events=self._num_events, is_whole=self._is_whole)


def row_of(seq: int, subject: str, body: bytes, chain: str | None) -> Row:
    """Return an event's row."""
    try:
        said = _said_decoder.decode(body)
        event = msgspec.Raw(_encoder.encode(said.data))
    except _UNREADABLE:
        return Row(seq=seq, subject=subject, body=body, chain=chain)
    return Row(
        seq=seq,
        subject=subject,
        time=said.time,
        name=said.type,
        writer=said.source,
        actor=said.actor,
        correlation=said.correlation,
        causes=said.causes,
        event=event,
        body=body,
        chain=chain,
    )


def json_lines(exporter: Exporter, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file."""
    for row in exporter.rows(lines):
        yield _encoder.encode(row) + b"\n"
    yield _encoder.encode(LastLine(end=exporter.end)) + b"\n"


def verify_lines(lines: Iterable[bytes], verification: Verification) -> None:
    """Read a file's lines into a verification."""
    end: End | None = None
    for line in lines:
        stripped = line.rstrip(b"\n")
        if end is not None:
            verification.find(Kind.CHANGED, end.last, "there is more after the file's last line")
            return
        if stripped.startswith(b'{"end"'):
            end = _read_end(stripped, verification)
        else:
            _verify_line(stripped, verification)
    verification.ended(end.last if end else None)


def _read_end(line: bytes, verification: Verification) -> End | None:
    try:
        end = _last_decoder.decode(line).end
    except _UNREADABLE as error:
        verification.find(Kind.CUT, verification.expected - 1, f"the file's last line cannot be read: {error}")
        return None
    said = _encoder.encode(LastLine(end=end))
    if said != line or end.num_events != verification.num_events or not end.is_whole:
        verification.find(Kind.CHANGED, verification.expected - 1, "the file's last line was changed")
    return end


def _verify_line(line: bytes, verification: Verification) -> None:
    try:
        key = _key_decoder.decode(line)
        chain = bytes.fromhex(key.chain) if key.chain else None
        expected = _encoder.encode(row_of(key.seq, key.subject, key.body, key.chain))
        columns = [] if line == expected else _different(line, expected)
    except _UNREADABLE as error:
        verification.unreadable(str(error))
        return
    if columns:
        verification.changed_line(key.seq, columns)
    verification.read(key.seq, key.subject, key.body, chain)


def _different(line: bytes, expected: bytes) -> list[str]:
    """Return the columns in which two lines differ; none if they are only written differently."""
    stands: dict[str, Any] = msgspec.json.decode(line)
    should: dict[str, Any] = msgspec.json.decode(expected)
    return sorted(name for name in stands.keys() | should.keys() if stands.get(name, ...) != should.get(name, ...))
