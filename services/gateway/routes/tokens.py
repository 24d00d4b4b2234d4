"""The tokens of programs: one's own, and for administrators those of others."""

from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import intents, paging
from services.gateway.access import credentials, decide
from services.gateway.access.access import principal
from services.gateway.access.people import Token
from services.gateway.api import PREFIX, Body, Call, NoQuery, get, json_response, post, read_body
from services.gateway.lists import PartQuery
from services.gateway.problems import not_found
from services.gateway.views.people import NewToken, TokenList, TokenView
from shared.events import Role


class WantedToken(Body, frozen=True, kw_only=True):
    """What the token is for, what it may do at most, and for how many days (none: until it is revoked)."""

    label: Annotated[str, Meta(min_length=1, max_length=100)]
    role: Role = Role.EDITOR
    days: Annotated[int, Meta(ge=1, le=3650)] | None = 90
    user: Annotated[str, Meta(max_length=63, description="a service account's; administrators only")] | None = None


async def list_tokens(call: Call[PartQuery]) -> TokenList:
    """One's own tokens; an administrator's view shows everybody's."""
    asking, now = principal.get(), datetime.now(UTC)
    shown = [
        token
        for token in call.access.people.tokens.values()
        if (token.user_id == asking.user_id or asking.may(Role.ADMIN))
        and (token.expires_at is None or token.expires_at > now)
    ]
    items, more = paging.part(shown, _place, after=call.query.cursor, limit=call.query.limit)
    return TokenList(items=[view(token) for token in items], next_cursor=more)


def _place(token: Token) -> paging.PartKey:
    """Oldest first."""
    return (token.issued_at.isoformat(timespec="microseconds"), token.token_id)


async def issue(call: Call[NoQuery]) -> web.StreamResponse:
    """Issue a token. It is shown once."""
    asked, asking, access = await read_body(call.request, WantedToken), principal.get(), call.access
    name = asked.user or asking.user_id
    if name != asking.user_id and not asking.may(Role.ADMIN):
        raise not_found("user", name)
    lasts = None if asked.days is None else timedelta(days=asked.days)
    wish = partial(
        decide.issue, asking=asking, name=name, label=asked.label, role=asked.role, lasts=lasts, now=datetime.now(UTC)
    )
    token, event, seq = await credentials.new_token(call.parts.client, access, wish)
    answer = NewToken(token=token, token_id=event.token_id, user_id=event.user_id, expires_at=event.expires_at)
    return json_response(answer, seq=seq, status=HTTPStatus.CREATED)


async def revoke(call: Call[NoQuery]) -> web.StreamResponse:
    """Revoke a token."""
    asking, access = principal.get(), call.access
    token = decide.find_token(access.people, call.id("token"))
    if token.user_id != asking.user_id and not asking.may(Role.ADMIN):
        raise not_found("token", token.token_id)
    wish = partial(decide.revoke_token, token_id=token.token_id)
    seq, _ = await intents.change_user(call.parts.client, access, wish)
    await access.secrets.forget_token(token.token_id)
    return json_response(view(token), seq=seq)


def view(token: Token) -> TokenView:
    """Return what may be shown of a token."""
    return TokenView(
        token_id=token.token_id,
        user_id=token.user_id,
        label=token.label,
        role=token.role,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
    )


ROUTES = (
    get(f"{PREFIX}/tokens", list_tokens, PartQuery, TokenList, "List one's tokens; administrators see everybody's"),
    post(
        f"{PREFIX}/tokens",
        issue,
        NewToken,
        "Issue a token; it is shown this once",
        status=HTTPStatus.CREATED,
        body=WantedToken,
        problems=(400, 404, 409, 422),
        query=NoQuery,
        holds_secret=True,
    ),
    post(
        f"{PREFIX}/tokens/{{id}}", revoke, TokenView, "Revoke a token", problems=(404,), method="DELETE", query=NoQuery
    ),
)
