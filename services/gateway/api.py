"""Routes as values: what each takes, does and answers with. The server and its description share the list."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from typing import Annotated, Generic, TypeVar

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Meta
from nats.aio.client import Client

from services.gateway import conditional, idempotency, past
from services.gateway.access.access import Access, holds_principal, principal
from services.gateway.cache import Cache, Encoded
from services.gateway.joining import Hosts
from services.gateway.past import ReadModel
from services.gateway.position import Position
from services.gateway.problems import Stale, not_found
from services.gateway.pulse import Pulse
from services.gateway.views.view import View
from services.gateway.webhooks.sender import Webhooks
from shared import ids
from shared.errors import Problem, Rejected
from shared.events import Role
from shared.objectstore import ObjectStore

PREFIX = "/api/v1"
MAX_SEQ = 2**53 - 1  # what JSON readers hold exactly; no log is that long
SEQ_HEADER = "TM-Seq"
MIN_SEQ_HEADER = "TM-Min-Seq"
MOMENT = (
    "as it was after this event: a sequence, a time (RFC 3339) or how long ago (10m); TM-Seq says which event that is,"
    " to be asked for in the next page"
)

#: An ETag: the sequence of the newest event that is shown, and a checksum (services.gateway.conditional).
_TAG = re.compile('"([0-9]{1,16})(?:-([0-9a-f]{8}))?(?:-gzip)?"')

Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What handlers work with."""

    client: Client
    database: "asyncpg.Pool[asyncpg.Record]"
    past: "asyncpg.Pool[asyncpg.Record]"  # its sessions see the read model as it was
    store: ObjectStore
    position: Position
    pulse: Pulse
    access: Access
    webhooks: Webhooks
    cache: Cache = field(default_factory=Cache)
    hosts: Hosts | None = None  # that may join as agents
    metrics: Position  # of the metrics' stream, apart from the log


PARTS = web.AppKey("parts", Parts)


MAX_BODY_BYTES = 64 * 1024
BODY_S = 30.0
RAW = web.RequestKey("raw", bytes)  # a body that was read already


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON body."""


class NoQuery(msgspec.Struct, frozen=True, kw_only=True):
    """No query parameters: what a POST takes."""


class Query(NoQuery, frozen=True, kw_only=True):
    """The query parameters that every GET takes."""

    min_seq: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="wait up to 2 s until this event is shown")] = 0


class PastQuery(Query, frozen=True, kw_only=True):
    """The query parameters of a GET that can be answered as of an earlier moment."""

    as_of: Annotated[str, Meta(max_length=64, description=MOMENT)] | None = None


QueryT = TypeVar("QueryT", bound=Query)
AnyQueryT = TypeVar("AnyQueryT", bound=NoQuery)
BodyT = TypeVar("BodyT", bound=Body)


@dataclass(frozen=True, slots=True)
class Call(Generic[AnyQueryT]):
    """One request, its query checked."""

    request: web.Request
    query: AnyQueryT
    as_of: int | None = None  # the event after which the answer is; None: as things are

    @property
    def parts(self) -> Parts:
        """What there is to work with."""
        return self.request.app[PARTS]

    def reading(self) -> AbstractAsyncContextManager[ReadModel]:
        """The read model as it is, or as it was when the query asks for that."""
        return nullcontext(self.parts.database) if self.as_of is None else past.as_of(self.parts.past, self.as_of)

    @property
    def access(self) -> Access:
        """The users and their secrets."""
        return self.parts.access

    def id(self, kind: str) -> str:
        """Return the id in the path. Raises Rejected (404) when no id of ours looks like that."""
        value = self.request.match_info["id"]
        if not ids.is_token(value):
            raise not_found(kind, repr(value))
        return value

    async def check_unchanged(self, look: Callable[[], Awaitable[View]]) -> int | None:
        """Return the sequence that the thing must still be at for a change, None if any will do.

        Raises Rejected (412) when it is not any more as If-Match says, (400) when that is no ETag.
        """
        text = self.request.headers.get("If-Match")
        if text is None or text.strip() == "*":
            return None
        known = _TAG.fullmatch(text.strip())
        if known is None:
            mistake = Problem("If-Match", f"{text[:100]!r} is no ETag of ours", "hand on the ETag of an answer")
            raise Rejected("the request has a mistake", (mistake,), status=HTTPStatus.BAD_REQUEST)
        view = await look()
        seq: int | None = getattr(view, "seq", None)
        is_same = conditional.checksum(msgspec.json.encode(view)) == known[2] if seq is None else seq == int(known[1])
        if not is_same:
            raise Stale(self.parts.position.value if seq is None else seq)
        return seq


Answer = View | web.StreamResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the API. `answer` is a view, or the media type of what is no JSON."""

    method: str
    path: str
    summary: str
    query: type[NoQuery]
    answer: type[View] | str
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]]
    status: int = HTTPStatus.OK
    also: tuple[int, ...] = ()  # other statuses that the answer may come with
    problems: tuple[int, ...] = ()
    forms: tuple[str, ...] = ()  # parts of a multipart body
    body: type[Body] | None = None


def get(
    path: str,
    respond: Callable[[Call[QueryT]], Awaitable[Answer]],
    query: type[QueryT],
    answer: type[View] | str,
    summary: str,
    *,
    is_cached: bool = False,
    also: tuple[int, ...] = (),
) -> Route:
    """Return the route of a question; its answer shows at least the event `min_seq`, unless that takes too long.

    `is_cached` says that it follows from the read model alone: it is kept until that moves.
    """

    async def answer_request(request: web.Request) -> web.StreamResponse:
        call = Call(request, parse(query, request))
        position = call.parts.position
        if isinstance(call.query, PastQuery) and call.query.as_of is not None:
            seq = await past.seq_of(call.parts.client, "as_of", call.query.as_of, datetime.now(UTC))
            call = replace(call, as_of=seq)
        await position.wait(max(call.as_of or 0, least_seq(request)))
        if is_cached and call.as_of is None:
            key = (request.path_qs, principal.get().workspaces(Role.VIEWER))
            found = await call.parts.cache.answer(position.version, key, partial(_answer, respond, call))
        else:
            shown = position.value if call.as_of is None else call.as_of
            sent = await respond(call)
            if isinstance(sent, web.StreamResponse):
                return sent
            found = _encoded(sent, shown)
        return conditional.answer(request, found.body, found.tag, {SEQ_HEADER: str(found.shown)})

    problems = (404,) if "{" in path else ()
    return Route(
        method="GET", path=path, summary=summary, query=query, answer=answer, respond=answer_request, also=also,
        problems=problems,
    )  # fmt: skip


async def _answer(respond: Callable[[Call[QueryT]], Awaitable[Answer]], call: Call[QueryT]) -> Encoded:
    shown = call.parts.position.value
    view = await respond(call)
    assert isinstance(view, View), "what is kept is JSON"
    return _encoded(view, shown)


def _encoded(view: View, shown: int) -> Encoded:
    body = msgspec.json.encode(view)
    return Encoded(body, conditional.tag_of(body, getattr(view, "seq", shown)), shown)


def least_seq(request: web.Request) -> int:
    """Return the event that the client wants to be shown at least, by `min_seq` or in a header; what is wrong with the
    query, its route says. Raises Rejected (400)."""
    text = request.headers.get(MIN_SEQ_HEADER, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 17 and int(text) <= MAX_SEQ):
        mistake = Problem(MIN_SEQ_HEADER, f"{text[:50]!r} is no sequence", f"hand on {SEQ_HEADER} of an answer")
        raise Rejected("the request has a mistake", (mistake,), status=HTTPStatus.BAD_REQUEST)
    try:
        asked = msgspec.convert(request.query.get("min_seq", "0"), Seq, strict=False)
    except msgspec.ValidationError:
        asked = 0
    return max(asked, int(text))


def post(  # noqa: PLR0913 # one for each property of the route
    path: str,
    respond: Callable[[Call[AnyQueryT]], Awaitable[web.StreamResponse]],
    answer: type[View],
    summary: str,
    *,
    query: type[AnyQueryT],
    status: int = HTTPStatus.OK,
    problems: tuple[int, ...] = (),
    forms: tuple[str, ...] = (),
    body: type[Body] | None = None,
    method: str = "POST",
    holds_secret: bool = False,
) -> Route:
    """Return the route of a wish. A POST may carry an Idempotency-Key; one with `forms` sees to it itself, as only it
    can read its body."""

    async def answer_request(request: web.Request) -> web.StreamResponse:
        if body is None and not forms and request.can_read_body:
            request[RAW] = await _no_body(request, query)
        call = Call(request, parse(query, request))
        key = idempotency.key_of(request) if method == "POST" and not forms and holds_principal() else None
        if key is None:
            return await respond(call)
        if RAW not in request:
            request[RAW] = await read_bytes(request, MAX_BODY_BYTES)
        print_ = idempotency.fingerprint(call.access.fingerprint_key, request, request[RAW])
        answer_once = partial(respond, call)
        return await idempotency.once(call.parts.database, key, print_, answer_once, holds_secret=holds_secret)

    return Route(
        method=method, path=path, summary=summary, query=query, answer=answer, respond=answer_request, status=status,
        problems=problems, forms=forms, body=body,
    )  # fmt: skip


def json_response(view: View, *, seq: int, status: int = HTTPStatus.OK, location: str | None = None) -> web.Response:
    """Return a view as JSON, with the sequence of the newest event that it shows."""
    headers = {SEQ_HEADER: str(seq), "Cache-Control": "no-store"}
    if location is not None:
        headers["Location"] = location
    body = msgspec.json.encode(view)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


@cache
def _fields(query: type[NoQuery]) -> "dict[str, msgspec.structs.FieldInfo]":
    return {one.encode_name: one for one in msgspec.structs.fields(query)}


def parse(query: type[AnyQueryT], request: web.Request) -> AnyQueryT:
    """Return the query parameters. Raises Rejected with every mistake in them."""
    fields = _fields(query)
    problems: list[Problem] = []
    values: dict[str, object] = {}
    for name, text in request.query.items():
        if name not in fields:
            problems.append(
                Problem(name[:100], "unknown query parameter", f"known ones: {', '.join(fields) or 'none'}")
            )
        elif name in values:
            problems.append(Problem(name, "given more than once"))
        else:
            try:
                values[name] = msgspec.convert(text, fields[name].type, strict=False)
            except msgspec.ValidationError as error:
                problems.append(Problem(name, str(error)))
    missing = [name for name, field in fields.items() if field.required and name not in request.query]
    problems += [Problem(name, "is missing") for name in missing]
    if problems:
        raise Rejected("the query has mistakes", tuple(problems), status=HTTPStatus.BAD_REQUEST)
    return msgspec.convert(values, query)


async def read_bytes(request: web.Request, max_bytes: int) -> bytes:
    """Return the body. Raises Rejected when it does not come within BODY_S (408) or is too long (413)."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while len(body) <= max_bytes and (chunk := await request.content.read(max_bytes + 1)):
                body += chunk
    except TimeoutError as error:
        raise Rejected(f"the body did not come within {BODY_S:g} s", status=HTTPStatus.REQUEST_TIMEOUT) from error
    if len(body) > max_bytes:
        raise Rejected(f"the body has more than {max_bytes} bytes", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(body)


async def _no_body(request: web.Request, query: type[NoQuery]) -> bytes:
    """Return the body of a route that takes none. Raises Rejected (400) when it says what nobody would hear."""
    body = await read_bytes(request, MAX_BODY_BYTES)
    if body.strip() not in (b"", b"{}"):
        mend = f"give {', '.join(_fields(query))} as query parameters" if _fields(query) else "leave it out"
        mistake = Problem("body", "is not taken here", mend)
        raise Rejected("the request has a mistake", (mistake,), status=HTTPStatus.BAD_REQUEST)
    return body


async def read_body(request: web.Request, wanted: type[BodyT]) -> BodyT:
    """Return the JSON body. Raises Rejected with every mistake in it."""
    body = request[RAW] if RAW in request else await read_bytes(request, MAX_BODY_BYTES)
    try:
        given = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected(f"the body is no JSON object: {error}", status=HTTPStatus.BAD_REQUEST) from error
    problems: list[Problem] = []
    fields = {field.name: field for field in msgspec.structs.fields(wanted)}
    problems += [
        Problem(name[:100], "is not known here", f"known: {', '.join(fields)}") for name in given if name not in fields
    ]
    for name, known in fields.items():
        if name not in given:
            problems += [Problem(name, "is missing")] if known.required else []
            continue
        try:
            msgspec.convert(given[name], known.type)
        except msgspec.ValidationError as error:
            problems.append(Problem(name, str(error)))
    if problems:
        raise Rejected("the body has mistakes", tuple(problems))
    return msgspec.convert(given, wanted)
