"""Requests that may be sent twice and happen once: the header Idempotency-Key, after the IETF's draft
(draft-ietf-httpapi-idempotency-key-header).

A key is its user's. What was done is answered again in the same words for KEPT; the same key with another request
is a mistake (422), and while the first is under way a second must wait (409). A refusal (4xx) did nothing, so it is not
kept: the key may be used again. When the gateway died in the middle, the key is free after LEASE and the request is
carried out again; a submission then finds the experiment that it made, whose id was drawn with the key.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from http import HTTPStatus

import asyncpg
import msgspec
from aiohttp import web

from services.gateway.access.access import principal
from services.gateway.intents import reserved_id
from services.gateway.past import Database
from services.gateway.problems import problem
from shared import ids, postgres
from shared.errors import Conflict, Problem, Rejected

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=60)
CLEANING_S = 600.0
KEPT_HEADERS = ("Location", "TM-Seq", "Content-Type", "ETag")

_KEY = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|([A-Za-z0-9._~:-]{1,255})')  # as the draft has it, or bare

_BEGIN = """
INSERT INTO idempotency_keys (owner, key, fingerprint, reserved) VALUES ($1, $2, $3, $4)
ON CONFLICT (owner, key) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint, reserved = EXCLUDED.reserved, begun_at = EXCLUDED.begun_at, status = NULL,
    headers = NULL, body = NULL
WHERE idempotency_keys.begun_at < clock_timestamp() - $5::interval
RETURNING reserved
"""
_TAKE_OVER = """
UPDATE idempotency_keys SET begun_at = clock_timestamp()
WHERE owner = $1 AND key = $2 AND fingerprint = $3 AND status IS NULL AND begun_at < clock_timestamp() - $4::interval
RETURNING reserved
"""
_FOUND = "SELECT fingerprint, status, headers, body FROM idempotency_keys WHERE owner = $1 AND key = $2"
_ANSWERED = "UPDATE idempotency_keys SET status = $3, headers = $4, body = $5 WHERE owner = $1 AND key = $2"
_FORGET = "DELETE FROM idempotency_keys WHERE owner = $1 AND key = $2"
_CLEAN = "DELETE FROM idempotency_keys WHERE begun_at < clock_timestamp() - $1::interval"

_log = logging.getLogger(__name__)

Respond = Callable[[], Awaitable[web.StreamResponse]]


def key_of(request: web.Request) -> str | None:
    """Return the request's key, None if it has none. Raises Rejected (400) for what cannot be one."""
    text = request.headers.get(HEADER)
    if text is None:
        return None
    found = _KEY.fullmatch(text.strip())
    if found is None:
        mistake = Problem(HEADER, "is no key", 'write 1 to 255 printable characters in quotes, such as "8e03978e"')
        raise Rejected("the request has a mistake", (mistake,), status=HTTPStatus.BAD_REQUEST)
    return found[1] or found[2]


def fingerprint(secret: bytes, request: web.Request, *parts: bytes) -> bytes:
    """Return what tells this request from another one: its method, path, query and the parts of its body.

    A body may hold a password, so nobody may find it by trying who does not know the gateways' `secret`.
    """
    digest = hmac.new(secret, f"{request.method} {request.path_qs}".encode(), hashlib.sha256)
    for part in parts:
        digest.update(b"\0%d\0" % len(part))
        digest.update(part)
    return digest.digest()


async def once(
    database: Database, key: str, print_: bytes, respond: Respond, *, holds_secret: bool = False
) -> web.StreamResponse:
    """Return the answer to a request with a key: that of the first time, if there was one.

    Raises Rejected (422) when the key was used for something else.
    """
    owner = principal.get().user_id
    reserved = await database.fetchval(_BEGIN, owner, key, print_, ids.new_experiment_id(), KEPT)
    if reserved is None:
        reserved = await database.fetchval(_TAKE_OVER, owner, key, print_, LEASE)
    if reserved is None:
        return _again(await database.fetchrow(_FOUND, owner, key), print_)
    token = reserved_id.set(reserved)
    try:
        response = await respond()
    except (Rejected, Conflict):  # nothing was done
        await database.execute(_FORGET, owner, key)
        raise
    finally:
        reserved_id.reset(token)  # the next request of this connection may have no key
    if not isinstance(response, web.Response) or response.status >= HTTPStatus.BAD_REQUEST:
        await database.execute(_FORGET, owner, key)
        return response
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    body = None if holds_secret else bytes(response.body) if isinstance(response.body, bytes) else b""
    await database.execute(_ANSWERED, owner, key, response.status, msgspec.json.encode(headers).decode(), body)
    return response


def _again(row: asyncpg.Record | None, print_: bytes) -> web.StreamResponse:
    if row is not None and row["fingerprint"] != print_:
        raise Rejected("the key was used for another request", (Problem(HEADER, "was used for another request"),))
    if row is None or row["status"] is None:
        answer = problem(HTTPStatus.CONFLICT, "the first request with this key is still under way; ask again")
        answer.headers["Retry-After"] = "1"
        return answer
    if row["body"] is None:
        return problem(HTTPStatus.CONFLICT, "this was done; its answer held a secret, which was shown once")
    headers = msgspec.json.decode(row["headers"], type=dict[str, str])
    return web.Response(body=row["body"], status=row["status"], headers=headers | {REPLAYED: "true"})


async def forget_old(database: Database) -> None:
    """Forget keys that are older than KEPT, for ever."""
    while True:
        try:
            await database.execute(_CLEAN, KEPT)
        except (asyncpg.UndefinedTableError, *postgres.UNREACHABLE) as error:
            _log.warning("old keys stay for now", extra={"error": repr(error)})
        await asyncio.sleep(CLEANING_S)
