"""The event tap: any part of the log, at once or as it grows."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import sight, sse, tap
from services.gateway.api import MAX_SEQ, PREFIX, Call, Query, get
from services.gateway.sight import Sight
from services.gateway.views.events import EventItem, EventPage
from shared import positions
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


TapQueryT = TypeVar("TapQueryT", bound=TapQuery)


class EventsQuery(TapQuery, frozen=True, kw_only=True):
    """Which events, and how many."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    until: Instant | None = None


async def list_events(call: Call[EventsQuery]) -> EventPage:
    """Events from the log, oldest first; of the workspaces where who asks has a role."""
    query = call.query
    sighted = await _sight(call)
    wanted = tap.follower(call.parts.client, query.selection, query.after or 0, None if query.after else query.since)
    async with tap.reading(wanted) as following:
        return await _page(following, query, sighted)


async def _page(following: Follower, query: EventsQuery, sighted: Sight) -> EventPage:
    items: list[EventItem] = []
    seen = query.after or 0
    try:
        async with asyncio.timeout(MAX_SEARCH_S):
            while True:
                for message, found in await _items(await following.next(), query, sighted):
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
    query, sighted = call.query, await _sight(call)
    after = sse.begin_after(call.request, query.after)
    since = query.since if after is None else None
    if after is None and since is None:
        after = await positions.head(call.parts.client)
    wanted = tap.follower(call.parts.client, query.selection, after or 0, since)
    async with tap.reading(wanted) as following, sse.opened(call.request) as stream:
        while True:
            found = await _items(await following.next(), query, sighted)
            await stream.send((message.seq, msgspec.json.encode(item)) for message, item in found if item is not None)
            await stream.keep_alive()
    return stream.response


async def _sight(call: Call[TapQueryT]) -> Sight:
    """Return what who asks may see. Raises Rejected (404) when that is not what the query names."""
    sighted, query = sight.of(call.parts), call.query
    if query.experiment is not None:
        await sighted.require(query.experiment)
    if query.trial is not None:
        await sighted.require(query.trial.rpartition("-")[0])
    return sighted


async def _items(
    messages: Sequence[Message], query: TapQuery, sighted: Sight
) -> list[tuple[Message, EventItem | None]]:
    """Return each message with its event, None where it is not asked for or not to be seen."""
    items = [(message, _item(message, query)) for message in messages]
    seen = await sighted.messages([message for message, item in items if item is not None])
    return [(message, item if message.seq in seen else None) for message, item in items]


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
