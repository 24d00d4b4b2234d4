"""Following what a trial says on a side stream, until it is over and everything is out."""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from services.gateway import queries, sse
from services.gateway.api import Call, Query
from shared.log import Follower, Message

QueryT = TypeVar("QueryT", bound=Query)


async def to_the_end(
    call: Call[QueryT], trial_id: str, following: Follower, items: Callable[[Message], list[bytes]]
) -> web.StreamResponse:
    """Send what comes, as `items` reads it. Agents publish a trial's last words before they say that it exited: once it
    is over, the head is the end."""
    async with sse.opened(call.request) as stream:
        is_drained = False
        while not is_drained:
            is_over = await queries.trial_is_over(call.parts.database, trial_id)
            for message in await following.next():
                found = items(message)
                ids = [None] * (len(found) - 1) + [message.seq]
                await stream.send(zip(ids, found, strict=False))
            await stream.keep_alive()
            is_drained = is_over and following.at_head
        await stream.end()
    return stream.response
