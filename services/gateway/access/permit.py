"""What each route demands: the one place where roles are enforced.

A route's first path segment says whose things it is about. What belongs to an experiment belongs to its workspace;
somebody who may not even look there is told that there is no such thing. What no rule names is for those who may look
everywhere, and to be changed by administrators only.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from aiohttp import web

from services.gateway.access.access import principal
from services.gateway.access.people import Principal
from services.gateway.api import PARTS, PREFIX, Parts, Route, least_seq
from services.gateway.problems import not_found
from shared.errors import Rejected
from shared.events import Role

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scope(Enum):
    """Where a role must be held."""

    WORKSPACE = "in the workspace of what is asked about; of a list, in any"
    SOMEWHERE = "in any workspace"
    EVERYWHERE = "in all workspaces"
    SELF = "nowhere: everybody about themselves"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What looking and changing demand."""

    scope: Scope
    look: Role = Role.VIEWER
    change: Role = Role.ADMIN
    is_shared: bool = False  # what all workspaces share: to change it, the role must be held everywhere


OTHERWISE = Rule(scope=Scope.EVERYWHERE)
RULES = {
    "experiments": Rule(scope=Scope.WORKSPACE, change=Role.EDITOR),
    "trials": Rule(scope=Scope.WORKSPACE, change=Role.EDITOR),
    "checkpoints": Rule(scope=Scope.WORKSPACE, change=Role.EDITOR),
    "workspaces": Rule(scope=Scope.WORKSPACE, change=Role.EDITOR),
    "projects": Rule(scope=Scope.WORKSPACE, change=Role.EDITOR),
    "agents": Rule(scope=Scope.SOMEWHERE, change=Role.OPERATOR, is_shared=True),
    "pools": Rule(scope=Scope.SOMEWHERE, change=Role.OPERATOR, is_shared=True),
    "queue": Rule(scope=Scope.SOMEWHERE, change=Role.OPERATOR, is_shared=True),
    "limits": Rule(scope=Scope.SOMEWHERE, change=Role.ADMIN, is_shared=True),
    "status": Rule(scope=Scope.SOMEWHERE),
    "usage": Rule(scope=Scope.SOMEWHERE),
    "schema": Rule(scope=Scope.SOMEWHERE),
    "mlflow": Rule(scope=Scope.SOMEWHERE, change=Role.EDITOR),  # and in the workspace of what it is about: `require`
    "events": Rule(scope=Scope.SOMEWHERE),  # and of those, what is in their workspaces: services.gateway.sight
    "audit": OTHERWISE,
    "diff": OTHERWISE,
    "set-aside": OTHERWISE,
    "invitations": OTHERWISE,
    "session": Rule(scope=Scope.SELF),
    "webhooks": Rule(scope=Scope.EVERYWHERE, look=Role.ADMIN, change=Role.ADMIN),  # they see all workspaces
    "join": Rule(scope=Scope.SELF),  # who has a token
    "tokens": Rule(scope=Scope.SELF),
    "users": Rule(scope=Scope.EVERYWHERE, look=Role.ADMIN, change=Role.ADMIN),
}

#: Of a segment's routes those that demand something else.
APART = {f"{PREFIX}/events/raw": OTHERWISE}  # the log's own bytes, for whoever proves or copies it

_OF_EXPERIMENT = "SELECT e.workspace FROM {} o JOIN experiments e ON e.id = o.experiment_id WHERE o.id = $1"
_WORKSPACE_OF = {
    "experiments": "SELECT workspace FROM experiments WHERE id = $1",
    "trials": _OF_EXPERIMENT.format("trials"),
    "checkpoints": _OF_EXPERIMENT.format("checkpoints"),
    "workspaces": "SELECT name FROM workspaces WHERE id = $1",
    "projects": "SELECT workspace FROM projects WHERE id = $1",
}


def rule_of(route: Route) -> Rule:
    """Return what a route demands."""
    return APART.get(route.path) or RULES.get(_segment(route.path), OTHERWISE)


def permitted(route: Route) -> Respond:
    """Return a route's answer to those who may have it; others are refused (Rejected, 403 or 404)."""
    if not route.path.startswith(PREFIX):
        return route.respond
    rule, is_look = rule_of(route), route.method == "GET"
    needed = rule.look if is_look else rule.change
    scope = Scope.EVERYWHERE if rule.is_shared and not is_look else rule.scope

    async def respond(request: web.Request) -> web.StreamResponse:
        if rule.scope is not Scope.SELF:
            await _check(request, principal.get(), scope, needed, _segment(route.path))
        return await route.respond(request)

    return respond


def needed(segment: str, *, is_look: bool) -> Role:
    """Return which role a rule demands."""
    return RULES[segment].look if is_look else RULES[segment].change


def check_somewhere(asking: Principal, needed: Role) -> None:
    """Raise Rejected (403) unless this role is theirs in any workspace."""
    if asking.workspaces(needed) == frozenset():
        raise _refusal(asking, needed, "in any workspace")


def require(needed: Role, workspace: str) -> None:
    """Raise Rejected (403) unless who asks has this role in a workspace that only the body names."""
    asking = principal.get()
    if not asking.may(needed, workspace):
        raise _refusal(asking, needed, f"in workspace {workspace}")


async def may(parts: Parts, needed: Role, segment: str, name: str) -> bool:
    """Say whether who asks has this role where a thing is; no role does for what there is none of."""
    asking = principal.get()
    if asking.may(needed):
        return True
    workspace = await _workspace(parts, segment, name)
    return workspace is not None and asking.may(needed, workspace)


async def require_for(parts: Parts, needed: Role, segment: str, name: str) -> None:
    """Raise Rejected (403, or 404 where they may not even look) unless who asks has this role where a thing is that
    only the body names; `segment` is that of its route."""
    await _check_one(parts, principal.get(), needed, segment, name)


async def _check(request: web.Request, asking: Principal, scope: Scope, needed: Role, segment: str) -> None:
    if scope is Scope.EVERYWHERE:
        if not asking.may(needed):
            raise _refusal(asking, needed, "everywhere")
        return
    if scope is Scope.WORKSPACE and "id" in request.match_info:
        if request.method == "GET" and not asking.may(needed):  # whose it is must be known by then
            await request.app[PARTS].position.wait(least_seq(request))
        await _check_one(request.app[PARTS], asking, needed, segment, request.match_info["id"])
        return
    check_somewhere(asking, needed)


async def _check_one(parts: Parts, asking: Principal, needed: Role, segment: str, name: str) -> None:
    if asking.may(needed):
        return
    workspace = await _workspace(parts, segment, name)
    if workspace is None or not asking.may(Role.VIEWER, workspace):
        raise not_found(segment.removesuffix("s"), repr(name[:100]))
    if not asking.may(needed, workspace):
        raise _refusal(asking, needed, f"in workspace {workspace}")


async def _workspace(parts: Parts, segment: str, name: str) -> str | None:
    found: str | None = await parts.database.fetchval(_WORKSPACE_OF[segment], name.replace("\0", ""))
    return found


def _refusal(asking: Principal, needed: Role, where: str) -> Rejected:
    limit = f"; this token is limited to {asking.at_most}" if asking.at_most is not Role.ADMIN else ""
    reason = f"this needs the role {needed} {where}, which {asking.user_id} does not have{limit}"
    return Rejected(reason, status=HTTPStatus.FORBIDDEN)


def _segment(path: str) -> str:
    return path.removeprefix(f"{PREFIX}/").split("/")[0]
