"""Limits that an administrator sets for a workspace, or for each."""

from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import administration, intents, paging
from services.gateway.api import PREFIX, Call, NoQuery, get, json_response, post
from services.gateway.lists import PastPartQuery
from services.gateway.problems import not_found
from services.gateway.views.pools import Limit, LimitList
from shared.errors import Rejected
from shared.events import LimitCleared, LimitEvent, LimitSet
from shared.ids import limit_id


class ScopeQuery(NoQuery, frozen=True, kw_only=True):
    """Whose limit; without a workspace that of each, with an empty one that of experiments without."""

    workspace: Annotated[str, Meta(pattern=r"^[^\x00]{0,256}$")] | None = None


class LimitQuery(ScopeQuery, frozen=True, kw_only=True):
    """The whole limit; what is left out is not limited."""

    max_slots: Annotated[int, Meta(ge=0, le=1_000_000, description="that its trials hold together")] | None = None
    best_priority: Annotated[int, Meta(ge=1, le=99, description="the lowest number allowed")] | None = None


async def list_limits(call: Call[PastPartQuery]) -> LimitList:
    """All limits."""
    async with call.reading() as database:
        found = await administration.limits(database)
    items, more = paging.part(found, _place, after=call.query.cursor, limit=call.query.limit)
    return LimitList(items=items, next_cursor=more)


def _place(limit: Limit) -> paging.PartKey:
    """The one for all comes first."""
    return ("",) if limit.workspace is None else ("workspace", limit.workspace)


async def set_limit(call: Call[LimitQuery]) -> web.StreamResponse:
    """Set a limit; what runs beyond it goes on, and nothing more starts."""
    asked = call.query
    if asked.max_slots is None and asked.best_priority is None:
        raise Rejected("give max_slots, best_priority or both", status=HTTPStatus.BAD_REQUEST)
    event = LimitSet(
        limit_id=limit_id(asked.workspace),
        workspace=asked.workspace,
        max_slots=asked.max_slots,
        best_priority=asked.best_priority,
    )
    return await _administer(call, event)


async def clear_limit(call: Call[ScopeQuery]) -> web.StreamResponse:
    """Lift a limit."""
    workspace = call.query.workspace
    known = {limit.workspace for limit in await administration.limits(call.parts.database)}
    if workspace not in known:
        raise not_found("limit for", "all" if workspace is None else repr(workspace))
    return await _administer(call, LimitCleared(limit_id=limit_id(workspace), workspace=workspace))


async def _administer(call: Call[LimitQuery] | Call[ScopeQuery], event: LimitEvent) -> web.StreamResponse:
    parts = call.parts
    seq = await intents.administer(parts.client, event)
    await parts.position.wait(seq)
    return json_response(LimitList(items=await administration.limits(parts.database), next_cursor=None), seq=seq)


ROUTES = (
    get(f"{PREFIX}/limits", list_limits, PastPartQuery, LimitList, "List what workspaces are limited to"),
    post(
        f"{PREFIX}/limits",
        set_limit,
        LimitList,
        "Limit the slots and the priority of a workspace, or of each",
        query=LimitQuery,
        status=HTTPStatus.OK,
        problems=(),
        method="PUT",
    ),
    post(
        f"{PREFIX}/limits",
        clear_limit,
        LimitList,
        "Lift a limit",
        query=ScopeQuery,
        status=HTTPStatus.OK,
        problems=(404,),
        method="DELETE",
    ),
)
