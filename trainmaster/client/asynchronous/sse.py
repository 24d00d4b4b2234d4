# Made by trainmaster/client/generate.py from its sync counterpart: change that one.
"""Server-sent events: parsed, and taken up again after the last one seen when the connection breaks."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from trainmaster.client.errors import ApiError, Unreachable

RETRY_S = 0.5
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One event of a stream."""

    id: str | None
    name: str
    data: str


async def parse(lines: AsyncIterator[str]) -> AsyncIterator[ServerEvent]:
    """Yield the events in the lines of a text/event-stream body."""
    identifier: str | None = None
    name, data = ("message", list[str]())
    async for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "" if line == "":
                if data:
                    yield ServerEvent(id=identifier, name=name, data="\n".join(data))
                name, data = ("message", [])
            case "id":
                identifier = value
            case "event":
                name = value
            case "data":
                data.append(value)


def _check_end(data: str) -> None:
    reason = json.loads(data).get("reason")
    if reason is not None:
        raise ApiError(HTTPStatus.FORBIDDEN, "the stream was ended", f"the platform ended the stream: {reason}", ())


async def resumed(
    connect: Callable[[str | None], AbstractAsyncContextManager[httpx.Response]],
    on_lost: Callable[[], None] = lambda: None,
    patience_s: float | None = PATIENCE_S,
) -> AsyncIterator[ServerEvent]:
    """Yield a stream's events until it says `end`, connecting again with the last id when it breaks off.

    Raises ApiError (403) when the platform ends it because who follows may not any more.
    Calls `on_lost` once each time the server goes away. Raises the connection's error when that stays away for longer
    than `patience_s` (None: it never does), or was not there to begin with.
    """
    last_id: str | None = None
    was_there, lost_at = (False, None)
    while True:
        try:
            async with connect(last_id) as response:
                was_there, lost_at = (True, None)
                async for event in parse(response.aiter_lines()):
                    if event.name == "end":
                        _check_end(event.data)
                        return
                    last_id = event.id if event.id is not None else last_id
                    yield event
        except (httpx.TransportError, Unreachable):
            now = time.monotonic()
            if lost_at is None and was_there:
                lost_at = now
                on_lost()
            elif lost_at is None or (patience_s is not None and now - lost_at > patience_s):
                raise
        await asyncio.sleep(RETRY_S)
