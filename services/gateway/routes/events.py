"""The event tap: any part of the log, at once or as it grows."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import sse, tap
from services.gateway.api import MAX_SEQ, PREFIX, Call, Query, get
from services.gateway.views.events import EventItem, EventPage
from shared import log, subjects
from shared.log import Follower, Message

MAX_SEARCH_S = 3.0  # a page that found less in this time says how far it got

NAMES = "^[A-Za-z]{1,80}(,[A-Za-z]{1,80}){0,19}$"
Token = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,79}$")]
Instant = Annotated[datetime, Meta(tz=True)]


class TapQuery(Query, frozen=True, kw_only=True):
    """Which events."""

    after: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="only events with a higher sequence")] | None = None
    experiment: Token | None = None
    trial: Token | None = None
    name: Annotated[str, Meta(pattern=NAMES, description="of these names; commas between several")] | None = None
    writer: Token | None = None
    since: Instant | None = None

    @property
    def selection(self) -> tap.Selection:
        """The conditions that each event must meet."""
        names = tuple(dict.fromkeys(self.name.split(","))) if self.name else ()
        return tap.Selection(experiment=self.experiment, trial=self.trial, names=names, writer=self.writer)


class EventsQuery(TapQuery, frozen=True, kw_only=True):
    """Which events, and how many."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    until: Instant | None = None


async def list_events(call: Call[EventsQuery]) -> EventPage:
    """Events from the log, oldest first."""
    query = call.query
    wanted = tap.follower(call.parts.client, query.selection, query.after or 0, None if query.after else query.since)
    async with tap.reading(wanted) as following:
        return await _page(following, query)


async def _page(following: Follower, query: EventsQuery) -> EventPage:
    items: list[EventItem] = []
    seen = query.after or 0
    try:
        async with asyncio.timeout(MAX_SEARCH_S):
            while True:
                for message in await following.next():
                    found = _item(message, query)
                    if query.until is not None and message.stored_at > query.until:
                        return EventPage(items=items, next_after=seen, at_head=True)
                    seen = message.seq
                    if found is not None:
                        items.append(found)
                    if len(items) == query.limit:
                        return EventPage(items=items, next_after=seen, at_head=False)
                if following.at_head:
                    return EventPage(items=items, next_after=seen, at_head=True)
    except TimeoutError:
        return EventPage(items=items, next_after=seen, at_head=False)


async def stream_events(call: Call[TapQuery]) -> web.StreamResponse:
    """Events as they come; from now on, unless the client says from where."""
    query = call.query
    resumed = sse.last_event_id(call.request)
    after = query.after if resumed is None else resumed
    since = query.since if after is None else None
    if after is None and since is None:
        newest = await log.last_of(call.parts.client, subjects.ALL_EVENTS)
        after = newest.seq if newest is not None else 0
    wanted = tap.follower(call.parts.client, query.selection, after or 0, since)
    async with tap.reading(wanted) as following, sse.opened(call.request) as stream:
        while True:
            await stream.send(_items(await following.next(), query))
            await stream.keep_alive()
    return stream.response


def _items(messages: list[Message], query: TapQuery) -> Iterator[tuple[int, bytes]]:
    for message in messages:
        found = _item(message, query)
        if found is not None:
            yield message.seq, msgspec.json.encode(found)


def _item(message: Message, query: TapQuery) -> EventItem | None:
    recorded = tap.decode(message)
    if recorded is None or not query.selection.covers(recorded):
        return None
    if query.since is not None and message.stored_at < query.since:
        return None
    return tap.item(recorded, message.subject)


ROUTES = (
    get(f"{PREFIX}/events", list_events, EventsQuery, EventPage, "Read a part of the log"),
    get(f"{PREFIX}/events/stream", stream_events, TapQuery, "text/event-stream", "Follow the log as it grows"),
)
