"""The log as it is: every message with its exact body, for exports, audits and readers with a decoder of their own."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import sse, tap
from services.gateway.api import MAX_SEQ, PREFIX, Call, get
from services.gateway.routes.events import Instant, TapQuery
from shared.log import Message

NDJSON = "application/x-ndjson"


class RawQuery(TapQuery, frozen=True, kw_only=True):
    """Which messages."""

    last: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="end with this sequence")] | None = None
    until: Instant | None = None


class RawItem(msgspec.Struct, frozen=True, kw_only=True):
    """One message; its body is base64 in JSON."""

    seq: int
    subject: str
    stored_at: datetime
    body: bytes


async def read_raw(call: Call[RawQuery]) -> web.StreamResponse:
    """The messages up to the head, oldest first."""
    query = call.query
    wanted = tap.follower(call.parts.client, query.selection, query.after or 0, None if query.after else query.since)
    async with tap.reading(wanted) as following:
        response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
        await response.prepare(call.request)
        while True:
            messages = await following.next()
            async with asyncio.timeout(sse.SLOW_S):
                await response.write(b"".join(_lines(messages, query)))
            if following.at_head or any(_is_beyond(message, query) for message in messages[-1:]):
                await response.write_eof()
                return response


def _lines(messages: list[Message], query: RawQuery) -> Iterator[bytes]:
    for message in messages:
        if not _is_beyond(message, query) and _is_wanted(message, query):
            item = RawItem(seq=message.seq, subject=message.subject, stored_at=message.stored_at, body=message.body)
            yield msgspec.json.encode(item) + b"\n"


def _is_beyond(message: Message, query: RawQuery) -> bool:
    ends = query.last is not None and message.seq > query.last
    return ends or (query.until is not None and message.stored_at > query.until)


def _is_wanted(message: Message, query: RawQuery) -> bool:
    """Also what cannot be decoded is part of the log, unless a part is asked for that only decoding tells."""
    if query.since is not None and message.stored_at < query.since:
        return False
    if query.experiment is None and query.trial is None:
        return True
    recorded = tap.decode(message)
    return recorded is not None and query.selection.covers(recorded)


ROUTES = (get(f"{PREFIX}/events/raw", read_raw, RawQuery, NDJSON, "Read the log's messages with their exact bodies"),)
