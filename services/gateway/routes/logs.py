"""The output of a trial, straight from the LOGS stream."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import log_pages, queries, sse, tap
from services.gateway.api import PREFIX, Call, Query, Seq, get
from services.gateway.routes.following import to_the_end
from services.gateway.views.logs import LogItem, LogPage
from shared import subjects, volume
from shared.log import Follower, Message

NDJSON, EVENTS = "application/x-ndjson", "text/event-stream"


class LogsQuery(Query, frozen=True, kw_only=True):
    """Which lines, and whether to wait for more."""

    follow: bool = False
    rank: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    after: Annotated[Seq, Meta(description="only what came after this message of the stream LOGS")] = 0


class LogPageQuery(Query, frozen=True, kw_only=True):
    """Which lines: the newest, or with `before` or `after` those around a message of the stream LOGS."""

    before: Seq | None = None
    after: Seq | None = None
    rank: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    search: Annotated[str, Meta(max_length=200, description="only lines that have this in them, in any case")] = ""
    until: Annotated[datetime, Meta(tz=True, description="only lines written at or before this time")] | None = None
    limit: Annotated[int, Meta(ge=1, le=5000, description="about; a message's lines stay together")] = 1000


async def read_page(call: Call[LogPageQuery]) -> LogPage:
    """Some lines of a trial's output."""
    trial_id, query, client = call.id("trial"), call.query, call.parts.client
    await queries.trial_is_over(call.parts.database, trial_id)
    wanted = log_pages.Wanted(
        trial_id=trial_id, rank=query.rank, search=query.search, until=query.until, limit=query.limit
    )
    if query.after is not None:
        return await log_pages.after(client, wanted, query.after)
    return await log_pages.before(client, wanted, query.before)


async def read_logs(call: Call[LogsQuery]) -> web.StreamResponse:
    """The lines so far, or these and all that come until the trial is over."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    after = sse.begin_after(call.request, call.query.after) or 0
    wanted = Follower(call.parts.client, subjects.LOGS, after=after, filters=[subjects.trial_logs_filter(trial_id)])
    async with tap.reading(wanted) as following:
        if not call.query.follow:
            return await _download(call, following)
        return await to_the_end(call, trial_id, following, lambda message: list(_lines(message, call.query.rank)))


async def _download(call: Call[LogsQuery], following: Follower) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
    await response.prepare(call.request)
    while True:
        for message in await following.next():
            async with asyncio.timeout(sse.SLOW_S):
                await response.write(b"".join(line + b"\n" for line in _lines(message, call.query.rank)))
        if following.at_head:
            await response.write_eof()
            return response


def _lines(message: Message, rank: int | None) -> Iterator[bytes]:
    try:
        batch = volume.decode_logs(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # not output of ours
    if rank in (None, batch.rank):
        for line in batch.lines:
            item = LogItem(time=line.time, rank=batch.rank, epoch=batch.epoch, stream=line.stream, text=line.text)
            yield msgspec.json.encode(item)


ROUTES = (
    get(f"{PREFIX}/trials/{{id}}/logs", read_logs, LogsQuery, f"{NDJSON}, {EVENTS}", "The output of a trial's ranks"),
    get(
        f"{PREFIX}/trials/{{id}}/logs/page", read_page, LogPageQuery, LogPage, "A part of a trial's output, or a search"
    ),
)
