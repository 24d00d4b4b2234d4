"""Submission of an experiment: a config and an archive of the code directory, as a multipart form."""

import asyncio
from functools import partial
from http import HTTPStatus

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from services.gateway import idempotency, intents
from services.gateway.access.access import principal
from services.gateway.api import PREFIX, Call, NoQuery, post
from services.gateway.submission import admitted, answer
from services.gateway.turns import Turns
from services.gateway.views.experiments import Experiment
from shared.archive import MAX_ARCHIVE_BYTES
from shared.errors import Problem, Rejected

MAX_CONFIG_BYTES = 1024 * 1024
LIMITS = {"config": MAX_CONFIG_BYTES, "code": MAX_ARCHIVE_BYTES}
UPLOAD_TIMEOUT_S = 120.0
MAX_AT_ONCE = 4  # submissions in memory
MAX_AT_ONCE_EACH = 2  # of one user
SUBMISSIONS = web.AppKey("submissions", Turns)


async def submit(call: Call[NoQuery]) -> web.StreamResponse:
    """Check everything, then store the code, then append: nothing is left half-done."""
    parts = call.parts
    async with call.request.app[SUBMISSIONS].place(principal.get().user_id):
        form = await _read_in_time(call.request)
        respond = partial(_submit, call, form)
        key = idempotency.key_of(call.request)
        if key is None:
            return await respond()
        print_ = idempotency.fingerprint(call.access.fingerprint_key, call.request, form["config"], form["code"])
        return await idempotency.once(parts.database, key, print_, respond)


async def _submit(call: Call[NoQuery], form: dict[str, bytes]) -> web.StreamResponse:
    parts = call.parts
    config = await intents.read_submission(_text(form["config"]), form["code"])
    config = await admitted(parts, config)
    seq, event = await intents.submit(parts.client, parts.store, config, form["code"])
    return await answer(parts, event, seq)


async def _read_in_time(request: web.Request) -> dict[str, bytes]:
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT_S):
            return await _read_form(request)
    except TimeoutError as error:
        slow = f"the code did not come within {UPLOAD_TIMEOUT_S:g} s"
        raise Rejected(slow, status=HTTPStatus.REQUEST_TIMEOUT) from error


async def _read_form(request: web.Request) -> dict[str, bytes]:
    if request.content_type != "multipart/form-data":
        raise _wrong(
            "", f"the body is {request.content_type}, not multipart/form-data", HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        )
    form: dict[str, bytes] = {}
    try:
        async for part in await request.multipart():
            name = part.name if isinstance(part, BodyPartReader) else None
            if not isinstance(part, BodyPartReader) or name not in LIMITS or name in form:
                raise _wrong(name or "", "is no part that is wanted here", HTTPStatus.BAD_REQUEST)
            form[name] = await _read_part(part, name)
    except (ValueError, HttpProcessingError) as error:  # the latter: a part's own header
        raise _wrong("", f"the body is no multipart form: {error}", HTTPStatus.BAD_REQUEST) from error
    missing = tuple(Problem(name, "is missing") for name in LIMITS if name not in form)
    if missing:
        raise Rejected("the form is incomplete", missing, status=HTTPStatus.BAD_REQUEST)
    return form


async def _read_part(part: BodyPartReader, name: str) -> bytes:
    body = bytearray()
    while chunk := await part.read_chunk():
        body += chunk
        if len(body) > LIMITS[name]:
            raise _wrong(name, f"has more than {LIMITS[name]} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(body)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _wrong("config", f"is not UTF-8: {error}", HTTPStatus.UNPROCESSABLE_ENTITY) from error


def _wrong(path: str, message: str, status: int) -> Rejected:
    mistake = Problem(path, message, f"send the parts {' and '.join(LIMITS)}")
    return Rejected("the form has a mistake", (mistake,), status=status)


ROUTES = (
    post(
        f"{PREFIX}/experiments",
        submit,
        Experiment,
        "Submit an experiment",
        query=NoQuery,
        status=HTTPStatus.CREATED,
        problems=(400, 413, 415, 422),
        forms=("config", "code"),
    ),
)
