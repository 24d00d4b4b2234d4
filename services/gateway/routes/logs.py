"""The output of a trial, straight from the LOGS stream."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import queries, sse, tap
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.routes.following import to_the_end
from services.gateway.views import LogItem
from shared import subjects, volume
from shared.log import Follower, Message

NDJSON, EVENTS = "application/x-ndjson", "text/event-stream"


class LogsQuery(Query, frozen=True, kw_only=True):
    """Which lines, and whether to wait for more."""

    follow: bool = False
    rank: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None


async def read_logs(call: Call[LogsQuery]) -> web.StreamResponse:
    """The lines so far, or these and all that come until the trial is over."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    after = sse.last_event_id(call.request) or 0
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
)
