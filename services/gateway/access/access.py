"""Who a request comes from: the platform's own token, a token of a user, or a browser's login.

Every request under /api/ needs one; what it may do is its route's to say (services.gateway.api).
"""

import asyncio
import hashlib
import hmac
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

import nats.errors
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from nats.aio.client import Client

from services.gateway import guard
from services.gateway.access.codes import Codes
from services.gateway.access.patience import Patience
from services.gateway.access.people import People, Principal, evolve, principal_of, root
from services.gateway.access.secrets import Secrets
from services.gateway.followed import Followed
from services.gateway.pacing import Pace
from services.gateway.problems import problem
from shared.errors import Unavailable
from shared.events.user import UserEvent

COOKIE = "tm_session"
API = "/api/"
SESSION = "/api/v1/session"
JOIN = "/api/v1/join"
SWEEP_S = 3600.0
REALM = {"WWW-Authenticate": 'Bearer realm="trainmaster"'}

#: Who asks, for whoever appends an event on the way.
principal: ContextVar[Principal] = ContextVar("principal")

#: Says whether who asked may still do what they could when they asked: for answers that go on and on.
STILL: web.RequestKey[partial[bool]] = web.RequestKey("still", partial)

_log = logging.getLogger(__name__)


def holds_principal() -> bool:
    """Say whether it is known who asks."""
    return principal.get(None) is not None


class Access:
    """The people, kept up with the log, and their secrets."""

    def __init__(self, client: Client, root_token: str) -> None:
        self.people = People()
        self.secrets = Secrets(client)
        self.codes = Codes()
        self.patience = Patience()
        self._root_token = root_token.encode()
        self.fingerprint_key = hashlib.sha256(b"fingerprints of requests" + self._root_token).digest()
        self._followed = Followed(client, UserEvent.aggregate, partial(evolve, self.people))
        self.wait = self._followed.wait
        self.is_ready = False

    async def run(self) -> None:
        """Follow what the log says about users, for ever."""
        while True:
            await self._followed.read()
            self.is_ready = self.is_ready or self._followed.at_head

    async def forget(self) -> None:
        """Forget the tokens that are over, and their hashes, every hour for ever."""
        while True:
            if self.is_ready:
                await self.sweep(datetime.now(UTC))
            await asyncio.sleep(SWEEP_S if self.is_ready else 1.0)

    async def sweep(self, now: datetime) -> None:
        """Forget the tokens that are over by now, and their hashes."""
        self.people.forget_expired(now)
        try:
            for token_id in list(self.people.over):
                await self.secrets.forget_token(token_id)
                self.people.over.discard(token_id)
        except (Unavailable, nats.errors.Error) as error:
            _log.warning("hashes of tokens stay for now", extra={"error": repr(error)})

    def still(self, asking: Principal) -> bool:
        """Say whether a token that spoke for somebody speaks for the same, with the same rights, now."""
        if asking.token_id is None:
            return True
        return principal_of(self.people, asking.token_id, datetime.now(UTC)) == asking

    async def who(self, token: str) -> Principal | None:
        """Return whom a token speaks for, None when it opens nothing."""
        if not token.isascii():  # none of ours; a header's other bytes could not even be encoded
            return None
        if hmac.compare_digest(token.encode(), self._root_token):
            return root()
        token_id = await self.secrets.opens(token)
        return None if token_id is None else principal_of(self.people, token_id, datetime.now(UTC))


def authenticate(access: Access, pace: Pace) -> Middleware:
    """Return the middleware that lets nobody unknown at the API."""

    @web.middleware
    async def ask_who(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(API):
            return await handler(request)
        token, by_cookie = _presented(request)
        if by_cookie and request.method not in guard.SAFE_METHODS and not _is_own_page(request):
            return problem(HTTPStatus.FORBIDDEN, "a browser's login may be used by the gateway's own page only")
        known = await access.who(token) if token else None
        if known is None and not (request.path in (SESSION, JOIN) and request.method == "POST"):
            if not access.is_ready:
                return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the gateway has not read yet who may do what")
            if wait_s := pace.take(_payer(None, request)):
                return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", retry_after_s=wait_s)
            return unauthorized("this token opens nothing; it may have expired" if token else "log in first: tm login")
        if wait_s := pace.take(_payer(known, request)):
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests with this token", retry_after_s=wait_s)
        if known is None:
            return await handler(request)
        request[STILL] = partial(access.still, known)
        asking = principal.set(known)
        try:
            return await handler(request)
        finally:
            principal.reset(asking)  # the next request of this connection may be somebody else's

    return ask_who


def _payer(known: Principal | None, request: web.Request) -> str:
    if known is None:
        return f"address {request.remote}"
    return f"token {known.token_id}" if known.token_id else f"user {known.user_id}"


def unauthorized(reason: str) -> web.Response:
    """Return the answer to somebody unknown."""
    response = problem(HTTPStatus.UNAUTHORIZED, reason)
    response.headers.update(REALM)
    return response


def _presented(request: web.Request) -> tuple[str | None, bool]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip(), False
    return request.cookies.get(COOKIE), COOKIE in request.cookies


def _is_own_page(request: web.Request) -> bool:
    """A page of ours says where it comes from; SameSite=Strict keeps the cookie from all others in any case."""
    origin = request.headers.get("Origin")
    return origin is not None and guard.names_same(origin, request.headers.get("Host", ""))
