"""How the platform is, and what the experiment file may say."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from typing import Annotated

import asyncpg
import msgspec
import nats.errors
from aiohttp import web
from msgspec import Meta

from services.gateway import queries, sse
from services.gateway.api import PREFIX, Call, Parts, Query, get, json_response
from services.gateway.pulse import DECIDERS
from services.gateway.views.status import Health, LogStatus, Readiness, SetAsideList, Status
from shared import postgres, runtime, subjects
from shared.errors import Unavailable

CHECK_TIMEOUT_S = 2.0
SCHEMA = "application/schema+json"


async def show_status(call: Call[Query]) -> Status:
    """What every process last said of itself, and how long the log is."""
    log = await _log_status(call.parts)
    pulse = call.parts.pulse
    return Status(services=pulse.services(log.last_seq), log=log, set_aside=pulse.num_set_aside())


async def follow_status(call: Call[Query]) -> web.StreamResponse:
    """The same, now and whenever it has changed."""
    async with sse.opened(call.request) as stream:
        sent: Status | None = None
        while True:
            status = await show_status(call)
            if sent is None or _told(status) != _told(sent):
                await stream.send([(None, msgspec.json.encode(status))])
                sent = status
            await stream.keep_alive()
            await asyncio.sleep(runtime.HEARTBEAT_S)
    return stream.response


def _told(status: Status) -> tuple[object, ...]:
    """What of a status is news: not that everybody was heard again."""
    return status.log, status.set_aside, [(one.name, one.instance, one.alive, one.lag) for one in status.services]


class SetAsideQuery(Query, frozen=True, kw_only=True):
    """How many messages."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50


async def list_set_aside(call: Call[SetAsideQuery]) -> SetAsideList:
    """The messages that were set aside last."""
    return await queries.set_aside(call.parts.database, call.query.limit)


async def show_health(call: Call[Query]) -> Health:
    """This process answers."""
    return Health(status="up")


async def show_readiness(call: Call[Query]) -> web.StreamResponse:
    """Whether an experiment that is submitted now would go on by itself."""
    parts = call.parts
    checks: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("NATS", lambda: _log_status(parts)),
        ("PostgreSQL", lambda: parts.database.fetchval("SELECT position FROM projections LIMIT 1")),
        ("the object store", lambda: parts.store.exists("readiness")),
    ]
    answers = await asyncio.gather(*(_answers(check) for _, check in checks))
    reasons = [f"{name} does not answer" for (name, _), answered in zip(checks, answers, strict=True) if not answered]
    reasons += [f"the {name} is not running" for name in DECIDERS if not parts.pulse.is_alive(name)]
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return json_response(Readiness(ready=not reasons, reasons=reasons), seq=parts.position.value, status=status)


async def _answers(check: Callable[[], Awaitable[object]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except (Unavailable, asyncpg.UndefinedTableError, *postgres.UNREACHABLE):
        return False
    return True


async def _log_status(parts: Parts) -> LogStatus:
    try:
        info = await parts.client.jetstream().stream_info(subjects.EVENTS)
    except nats.errors.Error as error:
        raise Unavailable(f"the broker does not answer: {error!r}") from error
    return LogStatus(last_seq=info.state.last_seq, events=info.state.messages, bytes=info.state.bytes)


async def show_schema(call: Call[Query]) -> web.StreamResponse:
    """The JSON Schema of the experiment file, for editors."""
    return web.Response(body=await asyncio.to_thread(_schema), content_type=SCHEMA)


@cache
def _schema() -> bytes:
    from shared.config import json_schema  # pydantic is 20 MB that an idle gateway does not need

    return json.dumps(json_schema()).encode()


ROUTES = (
    get(f"{PREFIX}/status", show_status, Query, Status, "How every process and the log are"),
    get(
        f"{PREFIX}/status/stream", follow_status, Query, "text/event-stream", "Follow how every process and the log are"
    ),
    get(
        f"{PREFIX}/set-aside",
        list_set_aside,
        SetAsideQuery,
        SetAsideList,
        "Messages that the read model could not use, and why",
    ),
    get(f"{PREFIX}/schema/experiment", show_schema, Query, SCHEMA, "JSON Schema of the experiment file"),
    get("/healthz", show_health, Query, Health, "Whether the process is up"),
    get(
        "/readyz",
        show_readiness,
        Query,
        Readiness,
        "Whether everything answers; 503 with the reasons if not",
        also=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
)
