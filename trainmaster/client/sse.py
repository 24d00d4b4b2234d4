"""Server-sent events: parsed, and taken up again after the last one seen when the connection breaks."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import httpx

RETRY_S = 0.5
MAX_SILENT_TRIES = 60  # connections in a row that brought nothing: half a minute without a server


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One event of a stream."""

    id: str | None
    name: str
    data: str


def parse(lines: Iterator[str]) -> Iterator[ServerEvent]:
    """Yield the events in the lines of a text/event-stream body."""
    identifier: str | None = None
    name, data = "message", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "" if line == "":
                if data:
                    yield ServerEvent(id=identifier, name=name, data="\n".join(data))
                name, data = "message", []
            case "id":
                identifier = value
            case "event":
                name = value
            case "data":
                data.append(value)


def resumed(connect: Callable[[str | None], AbstractContextManager[httpx.Response]]) -> Iterator[ServerEvent]:
    """Yield a stream's events until it says `end`, connecting again with the last id when it breaks off.

    Raises the connection's error when the server stays away.
    """
    last_id: str | None = None
    silent_tries = 0
    while True:
        try:
            with connect(last_id) as response:
                for event in parse(response.iter_lines()):
                    silent_tries = 0
                    if event.name == "end":
                        return
                    last_id = event.id if event.id is not None else last_id
                    yield event
        except httpx.TransportError:
            if silent_tries >= MAX_SILENT_TRIES:
                raise
        silent_tries += 1
        time.sleep(RETRY_S)
