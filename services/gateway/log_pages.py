"""A part of a trial's output, without reading the rest: the newest lines, those before, those that match.

The stream of all trials' output can only be read forwards. How many messages of a trial lie behind a place, the broker
knows: so where the last so many begin is found by bisection, at the cost of some twenty questions.
"""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from nats.aio.client import Client

from services.gateway import tap
from services.gateway.past import in_range
from services.gateway.views.logs import LogLine, LogPage
from shared import subjects, volume
from shared.log import Follower, Message
from shared.positions import bounds, num_after, seq_at

FIRST_MESSAGES = 32
MOST_MESSAGES = 4096  # in one stretch
MAX_SEARCH_S = 3.0  # a page that found less in this time says how far it got
UNDER_WAY = timedelta(seconds=10)  # lines are stored a little after they were written


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines: of one rank (None: of all), with `search` somewhere in the text, in whatever case, written at
    `until` at the latest."""

    trial_id: str
    rank: int | None = None
    search: str = ""
    until: datetime | None = None
    limit: int

    @property
    def subject(self) -> str:
        """What the trial's messages are stored under."""
        return subjects.trial_logs_filter(self.trial_id)


async def before(client: Client, wanted: Wanted, end: int | None) -> LogPage:
    """Return the last lines before sequence `end` (None: so far), oldest first."""
    first, last = await _bounds(client, wanted)
    end = last + 1 if end is None else min(end, last + 1)
    position, lines, size = end, list[LogLine](), FIRST_MESSAGES
    begun = time.monotonic()
    while position > first and len(lines) < wanted.limit and time.monotonic() - begun < MAX_SEARCH_S:
        start = await _start_of(client, wanted.subject, first, position, size)
        lines = [line async for line in _lines(client, wanted, start, position)] + lines
        position, size = start + 1, min(2 * size, MOST_MESSAGES)
    return LogPage(items=lines, before=position if position > first else None, after=end - 1)


async def after(client: Client, wanted: Wanted, start: int) -> LogPage:
    """Return the first lines after sequence `start`, oldest first; `after` of the answer is where they end."""
    _, last = await _bounds(client, wanted)
    lines, position = list[LogLine](), start
    following = Follower(client, subjects.LOGS, after=start, filters=[wanted.subject])
    begun = time.monotonic()
    async with tap.reading(following):
        while position < last and len(lines) < wanted.limit and time.monotonic() - begun < MAX_SEARCH_S:
            for message in await following.next():
                lines += _of(message, wanted)
                position = message.seq
                if len(lines) >= wanted.limit:
                    break
            else:
                position = max(position, last) if following.at_head else position
    return LogPage(items=lines, before=None, after=position)


async def _bounds(client: Client, wanted: Wanted) -> tuple[int, int]:
    """Return the first and the last sequence worth looking at."""
    first, last = await bounds(client, subjects.LOGS)
    if wanted.until is not None:
        last = min(last, await seq_at(client, in_range(wanted.until, datetime.now(UTC)) + UNDER_WAY, subjects.LOGS))
    return first, last


async def _lines(client: Client, wanted: Wanted, start: int, end: int) -> AsyncIterator[LogLine]:
    following = Follower(client, subjects.LOGS, after=start, filters=[wanted.subject])
    async with tap.reading(following):
        while True:
            for message in await following.next():
                if message.seq >= end:
                    return
                for line in _of(message, wanted):
                    yield line
                if message.seq == end - 1:
                    return
            if following.at_head:
                return


def _of(message: Message, wanted: Wanted) -> Iterator[LogLine]:
    try:
        batch = volume.decode_logs(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # not output of ours
    if wanted.rank not in (None, batch.rank):
        return
    needle = wanted.search.casefold()
    for line in batch.lines:
        if needle in line.text.casefold() and (wanted.until is None or line.time <= wanted.until):
            yield LogLine(
                seq=message.seq, time=line.time, rank=batch.rank, epoch=batch.epoch, stream=line.stream, text=line.text
            )


async def _start_of(client: Client, subject: str, first: int, end: int, wanted: int) -> int:
    """Return the largest sequence after which, and before `end`, `wanted` messages lie; `first - 1` if fewer do."""
    behind = await num_after(client, subjects.LOGS, subject, end - 1)
    low, high = first - 1, end - 1
    if await num_after(client, subjects.LOGS, subject, low) - behind <= wanted:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        if await num_after(client, subjects.LOGS, subject, middle) - behind >= wanted:
            low = middle
        else:
            high = middle
    return low
