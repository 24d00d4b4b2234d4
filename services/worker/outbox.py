"""What this agent has to say on the log, in order, for as long as it takes.

One writer, one queue, one append at a time. While the broker is away the queue fills; when it is full, whoever has
something to say waits, and with it the reader of that rank's socket: the training process is slowed, nothing is lost.
An append whose reply was lost is refused when repeated: then the log's last event of ours tells whether it is stored.
An event that the log can never take fails alone: its future has the reason, and those behind it go on.
"""

import asyncio
import logging
from dataclasses import dataclass

from nats.aio.client import Client

from services.worker.backoff import Backoff
from shared import log, subjects
from shared.codec import Envelope, Undecodable
from shared.errors import Conflict, TooLarge, Unavailable
from shared.events import Event

MAX_WAITING = 4096
MAX_REMEMBERED = 1024  # aggregates whose last sequence we need not look up

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    envelope: Envelope
    stored: asyncio.Future[int]

    @property
    def aggregate(self) -> tuple[str, str]:
        subject = self.envelope.subject
        return subject.aggregate, subject.aggregate_id


class Outbox:
    """Appends this agent's events, each exactly once, those of one aggregate in the order given."""

    def __init__(self, client: Client, writer: str) -> None:
        self._client = client
        self._writer = writer
        self._waiting: asyncio.Queue[_Entry] = asyncio.Queue(MAX_WAITING)
        self._last_of: dict[tuple[str, str], int] = {}  # aggregate -> our last event's sequence

    @property
    def num_waiting(self) -> int:
        """How many events wait."""
        return self._waiting.qsize()

    async def put(self, event: Event, *, causes: tuple[int, ...], correlation: str) -> asyncio.Future[int]:
        """Queue an event, waiting while the queue is full; the future has its sequence once it is on the log, or fails
        with TooLarge."""
        envelope = log.envelope_of(
            event, writer=self._writer, actor=self._writer, correlation=correlation, causes=causes
        )
        entry = _Entry(envelope=envelope, stored=asyncio.get_running_loop().create_future())
        await self._waiting.put(entry)
        return entry.stored

    async def append(self, event: Event, *, causes: tuple[int, ...], correlation: str) -> int:
        """Queue an event and wait until it is on the log; return its sequence. Raises TooLarge."""
        return await (await self.put(event, causes=causes, correlation=correlation))

    async def run(self) -> None:
        """Append for ever."""
        while True:
            entries = [await self._waiting.get()]
            while not self._waiting.empty() and len(entries) < log.MAX_BATCH:
                entries.append(self._waiting.get_nowait())
            for aggregate in dict.fromkeys(entry.aggregate for entry in entries):
                await self._store(aggregate, [entry for entry in entries if entry.aggregate == aggregate])

    async def _store(self, aggregate: tuple[str, str], entries: list[_Entry]) -> None:
        try:
            last_seq = await self._append(aggregate, [entry.envelope for entry in entries])
        except TooLarge as error:
            await self._store_apart(aggregate, entries, error)
            return
        self._remember(aggregate, last_seq)
        for number, entry in enumerate(reversed(entries)):  # an atomic batch is stored without gaps
            if not entry.stored.done():
                entry.stored.set_result(last_seq - number)

    async def _store_apart(self, aggregate: tuple[str, str], entries: list[_Entry], error: TooLarge) -> None:
        """Halve what is too large until that stands alone, and give it up."""
        if half := len(entries) // 2:
            await self._store(aggregate, entries[:half])
            await self._store(aggregate, entries[half:])
            return
        _log.error("event given up", extra={"aggregate": "/".join(aggregate), "error": str(error)})
        if not entries[0].stored.done():
            entries[0].stored.set_exception(error)

    async def _append(self, aggregate: tuple[str, str], envelopes: list[Envelope]) -> int:
        backoff = Backoff()
        while (last_seq := await self._try(aggregate, envelopes)) is None:
            await backoff.pause()
        return last_seq

    async def _try(self, aggregate: tuple[str, str], envelopes: list[Envelope]) -> int | None:
        """Return the last envelope's sequence, or None when another attempt is needed."""
        try:
            expected = self._last_of.get(aggregate)
            if expected is None:
                expected, envelope_id = await self._look_up(aggregate)
                if envelope_id == envelopes[-1].id:
                    return expected
            return await log.append(self._client, envelopes, expected=expected)
        except Conflict:  # an earlier attempt of ours arrived after all: look before the next one
            self._last_of.pop(aggregate, None)
        except Unavailable as error:
            _log.warning("append failed, trying again", extra={"aggregate": "/".join(aggregate), "error": str(error)})
        return None

    async def _look_up(self, aggregate: tuple[str, str]) -> tuple[int, str | None]:
        """Return the sequence and envelope id of our last event about the aggregate; (0, None) if there is none."""
        message = await log.last_of(self._client, subjects.aggregate_subject(self._writer, *aggregate))
        if message is None:
            return 0, None
        try:
            return message.seq, log.decode_recorded(message).envelope.id
        except (Undecodable, ValueError):
            return message.seq, None

    def _remember(self, aggregate: tuple[str, str], seq: int) -> None:
        self._last_of.pop(aggregate, None)
        self._last_of[aggregate] = seq
        if len(self._last_of) > MAX_REMEMBERED:
            del self._last_of[next(iter(self._last_of))]
