"""The event log: optimistic appends and gap-free following. The protocol details of JetStream live here only.

Appending. All events of one decision go in one append: a single message, or one JetStream atomic batch. The first
message carries the expected last sequence of a scope: what the writer said about one aggregate
(`tm.<writer>.<aggregate>.<id>.>`), or, where one leader decides for a whole service, all that the writer said
(`tm.<writer>.>`). The broker refuses the append whole when anything came in between (error 10071) and we raise
Conflict. The same error comes back when our own append succeeded but its reply was lost: folding tells.

Following. An ephemeral push consumer without acknowledgements delivers the stream in order; consumer sequence
numbers reveal a gap, missed idle heartbeats a dead consumer. Either way the follower makes a new consumer right
after the last message it handed out, so its reader sees each sequence once, in order, across reconnects and
restarts of the server. Server-side flow control bounds what is in flight.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg

from shared import codec, instruments, subjects, tracing
from shared.broker import raise_if_cancelled
from shared.codec import Envelope, Undecodable
from shared.errors import Conflict, TooLarge, Unavailable
from shared.events import Event

APPEND_TRIES = 3
APPEND_TIMEOUT_S = 2.0  # asking again is safe, and waiting longer only stalls after a broker was killed
MAX_EVENT_BYTES = 900 * 1024  # the server's limit of 1 MiB counts headers too, and breaks the connection
MAX_BATCH = 500  # the broker takes at most 1,000 messages in an atomic batch
HEARTBEAT_S = 1.0
SILENCE_S = 3 * HEARTBEAT_S
RETRY_S = 0.2

_WRONG_LAST_SEQUENCE = 10071
_EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
_EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
_BATCH_ID, _BATCH_SEQUENCE, _BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"

_log = logging.getLogger(__name__)


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One stored message of any stream."""

    seq: int
    subject: str
    body: bytes
    stored_ns: int  # since 1970, by the broker's clock

    @property
    def stored_at(self) -> datetime:
        """When the broker stored it, to the microsecond."""
        return datetime.fromtimestamp(self.stored_ns // 1000 / 1e6, UTC)


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the log holds it: its position makes it unique and orders it."""

    seq: int
    envelope: Envelope

    @property
    def event(self) -> Event | None:
        """The event itself; None if this program does not know its type."""
        return self.envelope.event


def envelope_of(
    event: Event,
    *,
    writer: str,
    actor: str,
    correlation: str,
    causes: tuple[int, ...] = (),
    position: int | None = None,
    time: datetime | None = None,
    traceparent: str | None = None,
) -> Envelope:
    """Wrap an event that is about to be appended: gives it its id, and its time unless it was decided at one.

    It belongs to the trace that is current, unless another is named.
    """
    return Envelope(
        id=uuid.uuid4().hex,
        writer=writer,
        time=time or datetime.now(UTC),
        actor=actor,
        correlation=correlation,
        causes=causes,
        position=position,
        name=type(event).__name__,
        version=event.version,
        traceparent=traceparent or tracing.current.get(),
        event=event,
    )


def decode_recorded(message: Message) -> Recorded:
    """Return the event in a message of EVENTS. Raises Undecodable, also when the body lies about its origin."""
    envelope = codec.decode(message.body)
    token = subjects.parse_event_subject(message.subject)
    if envelope.writer != token.writer or envelope.name != token.name:
        raise Undecodable(f"body says {envelope.writer}/{envelope.name}, subject says {message.subject}")
    event = envelope.event
    if event is not None and (event.aggregate, event.aggregate_id) != (token.aggregate, token.aggregate_id):
        raise Undecodable(f"body is about {event.aggregate} {event.aggregate_id}, subject says {message.subject}")
    if event is not None and token.writer != event.rightful_writer:  # the broker keeps writers to their own token
        raise Undecodable(f"{token.writer} may not say {envelope.name}; only {event.rightful_writer} may")
    return Recorded(seq=message.seq, envelope=envelope)


async def append(client: Client, envelopes: Sequence[Envelope], *, expected: int, scope: str | None = None) -> int:
    """Append one writer's events, all or none, and return the last one's sequence. At most MAX_BATCH.

    `expected` is the sequence of the last event on `scope`, a subject filter; 0 for none. The default scope is what
    the writer said about the first event's aggregate. Raises Conflict when the log has moved on, Unavailable when no
    answer came (the append may have succeeded).
    Raises TooLarge, and appends nothing, when an event has more than MAX_EVENT_BYTES.
    """
    outcome = "unanswered"
    try:
        with instruments.timed(instruments.APPEND_SECONDS):
            seq = await _append(client, envelopes, expected, scope)
        outcome = "stored"
    except Conflict:
        outcome = "refused"
        raise
    finally:
        instruments.APPENDS.labels(outcome).inc()
    for envelope in envelopes:
        instruments.APPENDED.labels(envelope.name).inc()
    return seq


async def _append(client: Client, envelopes: Sequence[Envelope], expected: int, scope: str | None) -> int:
    bodies = [_encoded(envelope) for envelope in envelopes]
    first = envelopes[0].subject
    headers = {
        _EXPECTED_SEQUENCE: str(expected),
        _EXPECTED_SUBJECT: scope or subjects.aggregate_subject(first.writer, first.aggregate, first.aggregate_id),
    }
    try:
        if len(envelopes) > 1:
            batch_id = uuid.uuid4().hex
            for number, envelope in enumerate(envelopes[:-1], start=1):
                headers |= {_BATCH_ID: batch_id, _BATCH_SEQUENCE: str(number)}
                await client.publish(str(envelope.subject), bodies[number - 1], headers=headers)
                headers = {}
            headers = {_BATCH_ID: batch_id, _BATCH_SEQUENCE: str(len(envelopes)), _BATCH_COMMIT: "1"}
        reply = await client.request(str(envelopes[-1].subject), bodies[-1], headers=headers, timeout=APPEND_TIMEOUT_S)
    except (nats.errors.Error, OSError) as error:
        raise Unavailable(f"the broker did not answer an append: {error!r}") from error
    return _acknowledged_sequence(reply.data)


async def append_once(client: Client, envelope: Envelope, *, expected: int, scope: str | None = None) -> int:
    """Append one event, asking again when no answer comes; return its sequence. See `append`.

    A conflict with itself (it was stored, the acknowledgement lost) counts as success. Raises Conflict, TooLarge, and
    Unavailable when the broker stays away for APPEND_TRIES.
    """
    for _ in range(APPEND_TRIES - 1):
        try:
            return await append(client, [envelope], expected=expected, scope=scope)
        except Unavailable:
            await asyncio.sleep(RETRY_S)
        except Conflict:
            stored = await last_of(client, str(envelope.subject))
            if stored is None or codec.decode(stored.body).id != envelope.id:
                raise
            return stored.seq
    return await append(client, [envelope], expected=expected, scope=scope)


def check_size(event: Event) -> None:
    """Raise TooLarge if the event could not be appended."""
    _encoded(envelope_of(event, writer="", actor="", correlation=""))


def _encoded(envelope: Envelope) -> bytes:
    body = codec.encode(envelope)
    if len(body) > MAX_EVENT_BYTES:
        raise TooLarge(f"{envelope.name} would have {len(body):,} bytes; an event has at most {MAX_EVENT_BYTES:,}")
    return body


def _acknowledged_sequence(reply: bytes) -> int:
    acknowledgement = json.loads(reply)
    error = acknowledgement.get("error")
    if error is None:
        return int(acknowledgement["seq"])
    if error.get("err_code") == _WRONG_LAST_SEQUENCE:
        raise Conflict(error.get("description", ""))
    raise Unavailable(f"the broker refused an append: {error}")


async def stream_identity(client: Client, stream: str) -> str:
    """Return what tells this stream from one of the same name made later. Waits until the broker answers."""
    while True:
        try:
            info = await client.jetstream().stream_info(stream)
        except (nats.errors.Error, OSError) as error:
            _log.warning("waiting for the stream", extra={"stream": stream, "error": repr(error)})
            await asyncio.sleep(RETRY_S)
        else:
            return f"{stream} {info.created}"


async def read_one(client: Client, seq: int) -> Message | None:
    """Return the message of EVENTS at a sequence, or None if there is none."""
    return await _get(client, seq=seq)


async def last_of(client: Client, subject: str) -> Message | None:
    """Return the newest message of EVENTS on a subject (wildcards allowed), or None."""
    return await _get(client, subject=subject)


async def _get(client: Client, seq: int | None = None, subject: str | None = None) -> Message | None:
    try:
        found: RawStreamMsg = await client.jetstream().get_msg(subjects.EVENTS, seq=seq, subject=subject)
    except nats.js.errors.NotFoundError:
        return None
    except (nats.errors.Error, OSError) as error:
        raise Unavailable(f"the broker did not answer a read: {error!r}") from error
    assert found.seq is not None and found.subject is not None and found.time is not None
    return Message(seq=found.seq, subject=found.subject, body=found.data or b"", stored_ns=nanoseconds(found.time))


def nanoseconds(instant: datetime) -> int:
    """Return how many nanoseconds after 1970 an instant is."""
    return (instant - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000


class Follower:
    """Reads one stream in order from just after `after`, for ever. One reader at a time.

    `start_time` begins at the first message stored at or after that instant instead.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        *,
        after: int = 0,
        filters: Sequence[str] = (),
        start_time: datetime | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._filters = list(filters)
        self._start_time = start_time
        self._buffer: list[Message] = []
        self._asked: list[str] = []  # where flow control waits for an answer
        self._ready = asyncio.Event()
        self._subscription: Subscription | None = None
        self._consumer_seq = 0
        self._received = after  # the last sequence received without a gap
        self._pending = 1  # how many messages the server had behind the last one received
        self._broken = True
        self._generation = 0
        self._reconnects = 0

    @property
    def at_head(self) -> bool:
        """Whether everything the stream held has been handed out by `next`."""
        return not self._broken and self._pending == 0 and not self._buffer

    def poke(self) -> None:
        """Make the pending or next `next` return at once, perhaps with nothing."""
        self._ready.set()

    async def next(self) -> list[Message]:
        """Return the messages that came since the last call; wait if there are none.

        Returns nothing when poked, when the head is reached without a message, and about every HEARTBEAT_S while
        the stream is quiet, so that the reader can look at its timers.
        """
        while True:
            raise_if_cancelled()
            if self._broken or self._client.stats["reconnects"] != self._reconnects:
                await self._restart()
            try:
                async with asyncio.timeout(SILENCE_S if self._client.is_connected else RETRY_S):
                    await self._ready.wait()
            except TimeoutError:
                self._broken = True
                continue
            self._ready.clear()
            while self._asked:  # the server's flow control, which so waits until the reader takes what is here
                await self._client.publish(self._asked.pop())
            messages, self._buffer = self._buffer, []
            return messages

    async def close(self) -> None:
        """Stop the delivery; the consumer on the server goes by itself."""
        self._generation += 1
        if self._subscription is not None and self._client.is_connected:
            await self._subscription.unsubscribe()
        self._subscription = None

    async def _restart(self) -> None:
        self._broken = True
        while self._broken:
            try:
                await self.close()
                await self._start()
            except (nats.errors.Error, OSError) as error:
                _log.warning("cannot follow the stream", extra={"stream": self._stream, "error": repr(error)})
                await asyncio.sleep(RETRY_S)

    async def _start(self) -> None:
        inbox = self._client.new_inbox()
        self._consumer_seq = 0
        self._asked = []
        self._reconnects = self._client.stats["reconnects"]
        self._subscription = await self._client.subscribe(inbox, cb=partial(self._receive, self._generation))
        info = await self._client.jetstream().add_consumer(self._stream, self._consumer(inbox))
        self._broken = False
        if self._consumer_seq == 0:
            self._pending = info.num_pending or 0
        if not self._pending:
            self._ready.set()  # let the reader see that it is at the head

    def _consumer(self, inbox: str) -> ConsumerConfig:
        by_time = self._start_time is not None and self._received == 0
        return ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=DeliverPolicy.BY_START_TIME if by_time else DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if by_time else self._received + 1,
            opt_start_time=self._start_time if by_time else None,
            filter_subjects=self._filters or None,
            ack_policy=AckPolicy.NONE,
            flow_control=True,
            idle_heartbeat=HEARTBEAT_S,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=30.0,
        )

    async def _receive(self, generation: int, message: Msg) -> None:
        if generation != self._generation:
            return
        self._ready.set()
        if message.headers and message.headers.get("Status") == "100":  # an idle heartbeat or flow control
            self._asked += [message.reply] if message.reply else []
            if int(message.headers.get("Nats-Last-Consumer", self._consumer_seq)) != self._consumer_seq:
                self._broken = True  # the last messages were lost, and none came after them to show the gap
            return
        seq, consumer_seq, stored_ns, pending = _place(message.reply)
        if consumer_seq != self._consumer_seq + 1:
            self._broken = True
            return
        self._consumer_seq, self._received, self._pending = consumer_seq, seq, pending
        self._buffer.append(Message(seq=seq, subject=message.subject, body=message.data, stored_ns=stored_ns))


def _place(reply: str) -> tuple[int, int, int, int]:
    """Return where a delivered message stands: its sequences, when it was stored, and how many come after it.

    As its reply subject tells:
    `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>[.…]`.
    """
    tokens = reply.split(".")
    start = 5 if len(tokens) == 9 else 7
    return int(tokens[start]), int(tokens[start + 1]), int(tokens[start + 2]), int(tokens[start + 3])
