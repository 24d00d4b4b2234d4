"""The wire format of an event, and nothing else knows it.

A message body is one msgpack map with the attributes of CloudEvents 1.0 (structured mode), so that an exported
body is whole by itself and one validated decode reads it:

    id, source (the writer), type (the event's name), subject (<aggregate>/<id>), time (UTC), tmversion,
    actor, correlation (the experiment), causes (stream sequences), position?, traceparent?, data (the event's fields)

`position` is on what a service decided by itself: the stream sequence up to which it had folded. From the same fold
and at the same `time`, the same decision follows again.

A reader ignores fields that it does not know. An unknown type decodes to an envelope whose `event` is None; the
reader counts it and goes on. Bytes that are no envelope, or data that does not fit its type, raise Undecodable.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from shared.events import CATALOGUE, Event
from shared.subjects import EventSubject


class Undecodable(Exception):
    """The bytes are not an event; the reason says why."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An event with who said it, when, and which earlier events made it necessary."""

    id: str
    writer: str
    time: datetime
    actor: str
    correlation: str
    causes: tuple[int, ...]
    name: str
    version: int
    position: int | None
    traceparent: str | None
    event: Event | None  # None: a type this reader does not know

    @property
    def subject(self) -> EventSubject:
        """The subject this envelope is published under."""
        if self.event is None:
            raise ValueError(f"cannot address an unknown event type {self.name}")
        return EventSubject(self.writer, self.event.aggregate, self.event.aggregate_id, self.name)


class _Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    tmversion: int
    actor: str
    correlation: str
    causes: tuple[int, ...] = ()
    position: int | None = None
    traceparent: str | None = None
    specversion: str = "1.0"
    data: msgspec.Raw


_encoder = msgspec.msgpack.Encoder()
_wire_decoder = msgspec.msgpack.Decoder(_Wire)
_decoders = {name: msgspec.msgpack.Decoder(event) for name, event in CATALOGUE.items()}

#: (event name, old version) -> how its raw fields become those of the next version.
UPCASTERS: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}


def encode(envelope: Envelope) -> bytes:
    """Return the message body of an envelope that carries an event."""
    event = envelope.event
    if event is None:
        raise ValueError(f"cannot encode an unknown event type {envelope.name}")
    return _encoder.encode(
        _Wire(
            id=envelope.id,
            source=envelope.writer,
            type=envelope.name,
            subject=f"{event.aggregate}/{event.aggregate_id}",
            time=envelope.time,
            tmversion=envelope.version,
            actor=envelope.actor,
            correlation=envelope.correlation,
            causes=envelope.causes,
            position=envelope.position,
            traceparent=envelope.traceparent,
            data=msgspec.Raw(data(event)),
        )
    )


def decode(body: bytes) -> Envelope:
    """Return the envelope in a message body. Raises Undecodable."""
    try:
        wire = _wire_decoder.decode(body)
        event = _decode_event(wire.type, wire.tmversion, wire.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Undecodable(str(error)) from error
    return Envelope(
        id=wire.id,
        writer=wire.source,
        time=wire.time,
        actor=wire.actor,
        correlation=wire.correlation,
        causes=wire.causes,
        position=wire.position,
        name=wire.type,
        version=wire.tmversion,
        traceparent=wire.traceparent,
        event=event,
    )


def data(event: Event) -> bytes:
    """Return an event's fields as they stand on the wire."""
    return _encoder.encode(event)


def fields(event: Event) -> dict[str, Any]:
    """Return an event's fields as plain values, for JSON and for tables."""
    builtins: dict[str, Any] = msgspec.to_builtins(event)
    return builtins


def _decode_event(name: str, version: int, data: msgspec.Raw) -> Event | None:
    event_type = CATALOGUE.get(name)
    if event_type is None:
        return None
    if version > event_type.version:
        raise Undecodable(f"{name} version {version} is newer than this program's {event_type.version}")
    if version == event_type.version:
        event: Event = _decoders[name].decode(data)
        return event
    raw: dict[str, Any] = msgspec.msgpack.decode(data)
    for old in range(version, event_type.version):
        raw = UPCASTERS[name, old](raw)
    return msgspec.convert(raw, event_type)
