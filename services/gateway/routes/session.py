"""Logging in, and who one is."""

from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import intents
from services.gateway.access import credentials, decide
from services.gateway.access.access import COOKIE, principal, unauthorized
from services.gateway.access.people import ROOT, People, Principal
from services.gateway.api import PREFIX, Body, Call, NoQuery, Query, get, json_response, post, read_body
from services.gateway.views.people import Granted, LoginCode, Session
from shared.errors import Problem, Rejected
from shared.events import Role, TokenRevoked
from shared.ids import UserId

LASTS = timedelta(hours=12)
BROWSER, PROGRAM = "login of a browser", "login of a program"


class Login(Body, frozen=True, kw_only=True):
    """A user and a password, or a code of `tm open`; a program says for how many days, and is given a token."""

    user: Annotated[str, Meta(max_length=63)] | None = None
    password: Annotated[str, Meta(max_length=decide.MAX_PASSWORD)] | None = None
    code: Annotated[str, Meta(max_length=100)] | None = None
    days: Annotated[int, Meta(ge=1, le=3650, description="a program's login: the token is in the answer")] | None = None
    label: Annotated[str, Meta(min_length=1, max_length=100, description="of a program's login")] | None = None


class OwnPassword(Body, frozen=True, kw_only=True):
    """The present password, and the one to come."""

    old: Annotated[str, Meta(max_length=decide.MAX_PASSWORD)]
    new: Annotated[str, Meta(max_length=decide.MAX_PASSWORD)]


async def show(call: Call[Query]) -> Session:
    """Who is asking, with which rights."""
    return session(call.access.people, principal.get())


async def log_in(call: Call[NoQuery]) -> web.StreamResponse:
    """Log in: a browser with a cookie that scripts cannot read, a program with a token that it is told."""
    asked = await read_body(call.request, Login)
    known = await _by_code(call, asked.code) if asked.code else await _by_password(call, asked)
    if known is None:
        return unauthorized("this code was used or is too old" if asked.code else "wrong user or password")
    lasts = LASTS if asked.days is None else timedelta(days=asked.days)
    label = (asked.label or PROGRAM) if asked.days else BROWSER
    token, seq = await _login(call, known, label, lasts)
    people = call.access.people
    if asked.days is not None:
        return json_response(session(people, known, token), seq=seq, status=HTTPStatus.CREATED)
    response = json_response(session(people, known), seq=seq, status=HTTPStatus.CREATED)
    response.set_cookie(
        COOKIE, token, max_age=int(LASTS.total_seconds()), httponly=True, samesite="Strict", path="/",
        secure=call.request.headers.get("X-Forwarded-Proto", call.request.scheme) == "https",
    )  # fmt: skip
    return response


async def _login(call: Call[NoQuery], known: Principal, label: str, lasts: timedelta) -> tuple[str, int]:
    """Return the token of a login, and the sequence of its event; of too many logins, the oldest ends."""
    access, client, now = call.access, call.parts.client, datetime.now(UTC)
    wish = partial(decide.log_in, known=known, label=label, lasts=lasts, now=now)
    token, event, seq = await credentials.new_token(client, access, wish, actor=known.user_id)
    if (outlived := decide.outlived(access.people, event.user_id, now)) is not None:
        await intents.change_user(client, access, lambda _: outlived, actor=known.user_id)
    return token, seq


async def log_out(call: Call[NoQuery]) -> web.StreamResponse:
    """End the session: its token opens nothing any more."""
    asking = principal.get()
    seq = 0
    if asking.token_id is not None:
        event = TokenRevoked(user_id=asking.user_id, token_id=asking.token_id)
        seq, _ = await intents.change_user(call.parts.client, call.access, lambda _: event)
        await call.access.secrets.forget_token(asking.token_id)
    response = json_response(session(call.access.people, asking), seq=seq)
    response.del_cookie(COOKIE, path="/")
    return response


async def new_code(call: Call[NoQuery]) -> web.StreamResponse:
    """Draw a code that logs a browser in, once, within ten minutes."""
    code, until = call.access.codes.new(principal.get(), datetime.now(UTC))
    return json_response(LoginCode(code=code, expires_at=until), seq=0, status=HTTPStatus.CREATED)


async def change_password(call: Call[NoQuery]) -> web.StreamResponse:
    """Change one's own password: all other logins end."""
    asked, asking, access = await read_body(call.request, OwnPassword), principal.get(), call.access
    wish = partial(decide.change_password, name=asking.user_id, password=asked.new, kept=asking.token_id)
    wish(access.people)
    revision = await access.secrets.password_revision(asking.user_id)
    if not await _is_password(call, asking.user_id, asked.old):
        raise Rejected("the password stays as it is", (Problem("old", "is not the present password"),))
    access.patience.forget(asking.user_id)
    seq = await credentials.change_password(call.parts.client, access, wish, asked.new, revision)
    return json_response(session(access.people, asking), seq=seq)


def session(people: People, asking: Principal, token: str | None = None) -> Session:
    """Return who this is, and the token of a program's new login."""
    user, known = people.users.get(asking.user_id), people.tokens.get(asking.token_id) if asking.token_id else None
    return Session(
        user_id=asking.user_id,
        full_name=user.full_name if user else "the platform's administrator",
        grants=[Granted(role=role, workspace=where) for where, role in asking.grants.items()],
        at_most=asking.at_most,
        expires_at=known.expires_at if known else None,
        token=token,
    )


async def _by_code(call: Call[NoQuery], code: str) -> Principal | None:
    """Return whom a code speaks for; nobody, if the token that drew it is over."""
    known = call.access.codes.use(code, datetime.now(UTC))
    return known if known is not None and call.access.still(known) else None


async def _by_password(call: Call[NoQuery], asked: Login) -> Principal | None:
    """Return who has this password; an unknown user, a disabled one and a wrong password all look the same."""
    if not asked.user or asked.password is None:
        raise Rejected("the login is incomplete", (Problem("user", "give user and password, or code"),), status=400)
    user = call.access.people.users.get(UserId(asked.user))
    fits = await _is_password(call, asked.user, asked.password)
    if not fits or user is None or not user.enabled or asked.user == ROOT:
        return None
    call.access.patience.forget(asked.user)
    return Principal(user_id=user.user_id, grants=user.grants, at_most=Role.ADMIN)


async def _is_password(call: Call[NoQuery], name: str, password: str) -> bool:
    """Say whether this is the password, which may be tried a few times. Raises Rejected (429) and Unavailable."""
    access = call.access
    access.secrets.check_room()
    with access.patience.attempt(name):
        return await access.secrets.is_password(UserId(name), password)


ROUTES = (
    get(f"{PREFIX}/session", show, Query, Session, "Show who is asking"),
    post(
        f"{PREFIX}/session",
        log_in,
        Session,
        "Log a browser or a program in",
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
