"""Logging in, and who one is."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import intents
from services.gateway.access import decide
from services.gateway.access.access import COOKIE, principal, unauthorized
from services.gateway.access.people import ROOT, People, Principal
from services.gateway.api import PREFIX, Body, Call, NoQuery, Query, get, json_response, post, read_body
from services.gateway.views.people import Granted, LoginCode, Session
from shared.errors import Problem, Rejected
from shared.events import Role, TokenRevoked
from shared.ids import UserId

LASTS = timedelta(hours=12)
BROWSER = "login of a browser"


class Login(Body, frozen=True, kw_only=True):
    """A user and a password, or a code of `tm open`."""

    user: Annotated[str, Meta(max_length=63)] | None = None
    password: Annotated[str, Meta(max_length=decide.MAX_PASSWORD)] | None = None
    code: Annotated[str, Meta(max_length=100)] | None = None


class OwnPassword(Body, frozen=True, kw_only=True):
    """The present password, and the one to come."""

    old: Annotated[str, Meta(max_length=decide.MAX_PASSWORD)]
    new: Annotated[str, Meta(max_length=decide.MAX_PASSWORD)]


async def show(call: Call[Query]) -> Session:
    """Who is asking, with which rights."""
    return session(call.access.people, principal.get())


async def log_in(call: Call[NoQuery]) -> web.StreamResponse:
    """Open a browser's session: a token of its own in a cookie that scripts cannot read."""
    asked = await read_body(call.request, Login)
    known = await _by_code(call, asked.code) if asked.code else await _by_password(call, asked)
    if known is None:
        return unauthorized("this code was used or is too old" if asked.code else "wrong user or password")
    now, access = datetime.now(UTC), call.access
    lasts = _lasts(access.people, known, now)
    event = decide.issue(access.people, known, known.user_id, label=BROWSER, role=known.at_most, lasts=lasts, now=now)
    token = await access.secrets.new_token(event.token_id)
    seq = await intents.change_user(call.parts.client, event, actor=known.user_id)
    await access.wait(seq)
    response = json_response(session(access.people, known), seq=seq, status=HTTPStatus.CREATED)
    response.set_cookie(
        COOKIE, token, max_age=int(LASTS.total_seconds()), httponly=True, samesite="Strict", path="/",
        secure=call.request.headers.get("X-Forwarded-Proto", call.request.scheme) == "https",
    )  # fmt: skip
    return response


async def log_out(call: Call[NoQuery]) -> web.StreamResponse:
    """End the session: its token opens nothing any more."""
    asking = principal.get()
    seq = 0
    if asking.token_id is not None:
        event = TokenRevoked(user_id=asking.user_id, token_id=asking.token_id)
        seq = await intents.change_user(call.parts.client, event)
        await call.access.wait(seq)
        await call.access.secrets.forget_token(asking.token_id)
    response = json_response(session(call.access.people, asking), seq=seq)
    response.del_cookie(COOKIE, path="/")
    return response


async def new_code(call: Call[NoQuery]) -> web.StreamResponse:
    """Draw a code that logs a browser in, once, within ten minutes."""
    code, until = call.access.codes.new(principal.get(), datetime.now(UTC))
    return json_response(LoginCode(code=code, expires_at=until), seq=0, status=HTTPStatus.CREATED)


async def change_password(call: Call[NoQuery]) -> web.StreamResponse:
    """Change one's own password."""
    asked, asking = await read_body(call.request, OwnPassword), principal.get()
    event = decide.change_password(call.access.people, asking.user_id, asked.new)
    call.access.patience.check(asking.user_id)
    if not await call.access.secrets.is_password(asking.user_id, asked.old):
        call.access.patience.note_failure(asking.user_id)
        raise Rejected("the password stays as it is", (Problem("old", "is not the present password"),))
    await call.access.secrets.set_password(asking.user_id, asked.new)
    seq = await intents.change_user(call.parts.client, event)
    return json_response(session(call.access.people, asking), seq=seq)


def session(people: People, asking: Principal) -> Session:
    """Return who this is."""
    user, token = people.users.get(asking.user_id), people.tokens.get(asking.token_id) if asking.token_id else None
    return Session(
        user_id=asking.user_id,
        full_name=user.full_name if user else "the platform's administrator",
        grants=[Granted(role=role, workspace=where) for where, role in asking.grants.items()],
        at_most=asking.at_most,
        expires_at=token.expires_at if token else None,
    )


def _lasts(people: People, known: Principal, now: datetime) -> timedelta:
    """Return how long a login lasts: never longer than the token that drew its code."""
    token = people.tokens.get(known.token_id) if known.token_id else None
    return LASTS if token is None or token.expires_at is None else min(LASTS, token.expires_at - now)


async def _by_code(call: Call[NoQuery], code: str) -> Principal | None:
    """Return whom a code speaks for; nobody, if the token that drew it is over."""
    known = call.access.codes.use(code, datetime.now(UTC))
    return known if known is not None and call.access.still(known) else None


async def _by_password(call: Call[NoQuery], asked: Login) -> Principal | None:
    """Return who has this password; an unknown user, a disabled one and a wrong password all look the same."""
    if not asked.user or asked.password is None:
        raise Rejected("the login is incomplete", (Problem("user", "give user and password, or code"),), status=400)
    access = call.access
    access.patience.check(asked.user)
    user = access.people.users.get(UserId(asked.user))
    fits = await access.secrets.is_password(UserId(asked.user), asked.password)
    if not fits or user is None or not user.enabled or asked.user == ROOT:
        access.patience.note_failure(asked.user)
        return None
    access.patience.forget(asked.user)
    return Principal(user_id=user.user_id, grants=user.grants, at_most=Role.ADMIN)


ROUTES = (
    get(f"{PREFIX}/session", show, Query, Session, "Show who is asking"),
    post(
        f"{PREFIX}/session",
        log_in,
        Session,
        "Log a browser in",
        status=HTTPStatus.CREATED,
        body=Login,
        problems=(400, 401, 422, 429),
        query=NoQuery,
        holds_secret=True,
    ),
    post(f"{PREFIX}/session", log_out, Session, "Log out", method="DELETE", query=NoQuery),
    post(
        f"{PREFIX}/session/code",
        new_code,
        LoginCode,
        "Draw a code that logs a browser in once",
        status=HTTPStatus.CREATED,
        query=NoQuery,
        holds_secret=True,
    ),
    post(
        f"{PREFIX}/session/password",
        change_password,
        Session,
        "Change one's own password",
        body=OwnPassword,
        problems=(400, 404, 409, 422, 429),
        query=NoQuery,
    ),
)
