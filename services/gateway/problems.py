"""Failures as RFC 9457 problem documents; no other shape of error leaves the gateway."""

import logging
from http import HTTPStatus

import asyncpg
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from services.gateway.past import Behind
from services.gateway.views import problems as views
from shared import postgres
from shared.errors import Conflict, NotFound, Problem, Refused, Rejected, Unavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S: dict[int, int] = {
    HTTPStatus.SERVICE_UNAVAILABLE: 1,
    HTTPStatus.TOO_MANY_REQUESTS: 60,
}  # the latter: wrong passwords
BEGUN = web.RequestKey("begun", web.StreamResponse)

_log = logging.getLogger(__name__)


def not_found(what: str, name: str) -> Rejected:
    """Return the refusal of a name that means nothing."""
    return Rejected(f"there is no {what} {name}", status=HTTPStatus.NOT_FOUND)


class Stale(Rejected):
    """A change of what is not any more as the caller saw it: it changed with the event `seq`. HTTP 412."""

    def __init__(self, seq: int) -> None:
        reason = f"it changed meanwhile, by event {seq}; look at it again"
        super().__init__(reason, status=HTTPStatus.PRECONDITION_FAILED)
        self.seq = seq


def problem(
    status: int, detail: str, problems: tuple[Problem, ...] = (), *, retry_after_s: int | None = None
) -> web.Response:
    """Return a problem document."""
    errors = tuple(views.ErrorItem(path=p.path, message=p.message, suggestion=p.suggestion) for p in problems)
    body = views.Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    wait_s = retry_after_s or RETRY_AFTER_S.get(status)
    headers = {"Retry-After": str(wait_s)} if wait_s else None
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=MEDIA_TYPE, headers=headers)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a problem document; break off an answer that had begun, so that it shows."""
    response = await _answered(request, handler)
    if request.get(BEGUN) not in (None, response) and request.transport is not None:
        request.transport.abort()
    return response


async def note_begun(request: web.Request, response: web.StreamResponse) -> None:
    """Remember which answer is on its way (a signal of aiohttp)."""
    if BEGUN not in request:
        request[BEGUN] = response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await _with_values(request, handler)
    except Rejected as error:
        return problem(error.status, error.title, error.problems)
    except NotFound as error:
        return problem(HTTPStatus.NOT_FOUND, f"{error} is no longer in the object store")
    except Refused as error:
        _log.error("the object store refuses", extra={"path": request.path, "error": str(error)})
        return problem(HTTPStatus.BAD_GATEWAY, str(error))
    except Conflict:
        return problem(HTTPStatus.CONFLICT, "somebody else changed this at the same moment; look and try again")
    except Behind as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    except (Unavailable, asyncpg.UndefinedTableError, *postgres.UNREACHABLE) as error:
        _log.warning("cannot answer now", extra={"path": request.path, "error": repr(error)})
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "a server behind the gateway does not answer; see /readyz")
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return problem(error.status, error.text or error.reason)
    except Exception:  # noqa: BLE001 # the one place: it is logged, and the server goes on
        _log.exception("request failed", extra={"method": request.method, "path": request.path})
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a mistake in the gateway; its log has the details")


async def _with_values(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request; a value that nobody checked before it was used is its mistake, and an omission of ours."""
    try:
        return await handler(request)
    except (*postgres.BAD_VALUE, RecursionError) as error:  # the latter: JSON, nested without end
        _log.exception("a value was not checked", extra={"method": request.method, "path": request.path})
        reason = f"the request has a value that nothing here can have: {error}"[:500]
        raise Rejected(reason, status=HTTPStatus.BAD_REQUEST) from error
