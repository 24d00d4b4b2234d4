"""Users and their roles: an administrator's work."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import intents, paging
from services.gateway.access import credentials, decide
from services.gateway.access.access import principal
from services.gateway.access.people import People, User, made
from services.gateway.api import PREFIX, Body, Call, NoQuery, Query, get, json_response, post, read_body
from services.gateway.lists import PartQuery
from services.gateway.views.people import Granted, UserList, UserView
from shared.events import Role
from shared.events.user import UserEvent

Workspace = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
Password = Annotated[str, Meta(max_length=decide.MAX_PASSWORD)]


class WantedUser(Body, frozen=True, kw_only=True):
    """Who is to be made known. A service account has no password."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    full_name: Annotated[str, Meta(max_length=200)] = ""
    is_service: bool = False


class WantedPassword(Body, frozen=True, kw_only=True):
    """A user's new password."""

    password: Password


class WantedRole(Body, frozen=True, kw_only=True):
    """A role in a workspace, or without one everywhere."""

    role: Role
    workspace: Workspace | None = None


class RoleQuery(NoQuery, frozen=True, kw_only=True):
    """The role in which workspace; without one, the role everywhere."""

    workspace: Workspace | None = None


async def list_users(call: Call[PartQuery]) -> UserList:
    """All users by name."""
    users = call.access.people.users.values()
    items, more = paging.part(users, lambda user: (user.user_id,), after=call.query.cursor, limit=call.query.limit)
    return UserList(items=[view(user) for user in items], next_cursor=more)


async def show(call: Call[Query]) -> UserView:
    """One user."""
    return view(decide.find(call.access.people, call.id("user")))


async def create(call: Call[NoQuery]) -> web.StreamResponse:
    """Make a user known; without a role it may do nothing yet."""
    asked = await read_body(call.request, WantedUser)
    wish = partial(decide.create, name=asked.name, full_name=asked.full_name, is_service=asked.is_service)
    seq, event = await intents.change_user(call.parts.client, call.access, wish)
    user = call.access.people.users.get(event.user_id) or made(event, datetime.now(UTC), seq)  # it may come late
    return json_response(view(user), seq=seq, status=HTTPStatus.CREATED)


async def enable(call: Call[NoQuery]) -> web.StreamResponse:
    """Let a disabled user in again."""
    known = await _check_unchanged(call)
    return await _changed(call, partial(decide.enable, name=call.id("user"), enabled=True), known)


async def disable(call: Call[NoQuery]) -> web.StreamResponse:
    """Keep a user out, at once and with all tokens."""
    known = await _check_unchanged(call)
    return await _changed(call, partial(decide.enable, name=call.id("user"), enabled=False), known)


async def set_password(call: Call[NoQuery]) -> web.StreamResponse:
    """Set a user's password: all the user's logins end."""
    asked, known, access = await read_body(call.request, WantedPassword), await _check_unchanged(call), call.access
    user = decide.find(access.people, call.id("user"))
    wish = partial(decide.change_password, name=user.user_id, password=asked.password, kept=principal.get().token_id)
    revision = await access.secrets.password_revision(user.user_id)
    seq = await credentials.change_password(call.parts.client, access, wish, asked.password, revision, known)
    return json_response(view(decide.find(access.people, user.user_id)), seq=seq)


async def grant(call: Call[NoQuery]) -> web.StreamResponse:
    """Give a user a role, in place of the one there."""
    asked, known = await read_body(call.request, WantedRole), await _check_unchanged(call)
    wish = partial(decide.grant, name=call.id("user"), role=asked.role, workspace=asked.workspace)
    return await _changed(call, wish, known)


async def revoke(call: Call[RoleQuery]) -> web.StreamResponse:
    """Take a role away."""
    known = await _check_unchanged(call)
    return await _changed(call, partial(decide.revoke, name=call.id("user"), workspace=call.query.workspace), known)


async def _changed(
    call: Call[NoQuery] | Call[RoleQuery],
    wish: Callable[[People], UserEvent],
    known: int | None = None,
) -> web.Response:
    seq, event = await intents.change_user(call.parts.client, call.access, wish, known_seq=known)
    return json_response(view(decide.find(call.access.people, event.user_id)), seq=seq)


async def _check_unchanged(call: Call[NoQuery] | Call[RoleQuery]) -> int | None:
    async def look() -> UserView:
        return view(decide.find(call.access.people, call.id("user")))

    return await call.check_unchanged(look)


def view(user: User) -> UserView:
    """Return a user as the API shows it."""
    return UserView(
        user_id=user.user_id,
        full_name=user.full_name,
        is_service=user.is_service,
        enabled=user.enabled,
        created_at=user.created_at,
        grants=[Granted(role=role, workspace=where) for where, role in user.grants.items()],
        seq=user.seq,
    )


_ONE = f"{PREFIX}/users/{{id}}"

ROUTES = (
    get(f"{PREFIX}/users", list_users, PartQuery, UserList, "List the users"),
    post(
        f"{PREFIX}/users",
        create,
        UserView,
        "Make a user known",
        status=HTTPStatus.CREATED,
        body=WantedUser,
        problems=(400, 409, 422),
        query=NoQuery,
    ),
    get(_ONE, show, Query, UserView, "Show a user"),
    post(f"{_ONE}/enable", enable, UserView, "Let a disabled user in again", problems=(404, 409, 412), query=NoQuery),
    post(
        f"{_ONE}/disable",
        disable,
        UserView,
        "Keep a user out, with all tokens",
        problems=(404, 409, 412),
        query=NoQuery,
    ),
    post(
        f"{_ONE}/password",
        set_password,
        UserView,
        "Set a user's password",
        body=WantedPassword,
        problems=(400, 404, 409, 412, 422),
        query=NoQuery,
    ),
    post(
        f"{_ONE}/roles",
        grant,
        UserView,
        "Give a user a role in a workspace, or everywhere",
        body=WantedRole,
        problems=(400, 404, 412, 422),
        method="PUT",
        query=NoQuery,
    ),
    post(
        f"{_ONE}/roles",
        revoke,
        UserView,
        "Take a role away",
        query=RoleQuery,
        problems=(404, 409, 412),
        method="DELETE",
    ),
)
