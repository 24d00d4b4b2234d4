"""What changes, for those who may not read the whole log: that something happened, of theirs what it was about."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import sse, tap
from services.gateway.access.access import principal
from services.gateway.api import MAX_SEQ, PREFIX, Call, Parts, Query, get
from services.gateway.views.events import Change
from shared import positions, subjects
from shared.events import Role
from shared.log import Message, Recorded

_SHARED = frozenset({"agent", "pool"})  # what everybody sees some of
_ABOUT = ("experiment_id", "trial_id", "agent_id")
_WORKSPACE = "SELECT workspace FROM experiments WHERE id = $1"


class ChangesQuery(Query, frozen=True, kw_only=True):
    """From where."""

    after: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="only events with a higher sequence")] | None = None


class _Sight:
    """What somebody may see; an experiment's workspace is asked for once (a later move is theirs to reload)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._workspaces = principal.get().workspaces(Role.VIEWER)
        self._of: dict[str, bool] = {}

    async def covers(self, experiment_id: str, seq: int) -> bool:
        """Say whether an experiment is in one of their workspaces."""
        if self._workspaces is None:
            return True
        if experiment_id not in self._of:
            await self._parts.position.wait(seq)
            workspace = await self._parts.database.fetchval(_WORKSPACE, experiment_id)
            self._of[experiment_id] = workspace in self._workspaces
        return self._of[experiment_id]


async def follow_changes(call: Call[ChangesQuery]) -> web.StreamResponse:
    """Changes as they come; from now on, unless the client says from where."""
    after = call.query.after if (resumed := sse.last_event_id(call.request)) is None else resumed
    if after is None:
        _, after = await positions.bounds(call.parts.client, subjects.EVENTS)
    sight = _Sight(call.parts)
    wanted = tap.follower(call.parts.client, tap.Selection(), after, None)
    async with tap.reading(wanted) as following, sse.opened(call.request) as stream:
        while True:
            found = [item async for item in _changes(await following.next(), sight)]
            await stream.send(found)
            await stream.keep_alive()
    return stream.response


async def _changes(messages: list[Message], sight: _Sight) -> AsyncIterator[tuple[int, bytes]]:
    for message in messages:
        recorded = tap.decode(message)
        if recorded is None:
            continue
        change = await _change(recorded, subjects.parse_event_subject(message.subject).aggregate, sight)
        if change is not None:
            yield message.seq, msgspec.json.encode(change)


async def _change(recorded: Recorded, aggregate: str, sight: _Sight) -> Change | None:
    about = {name: str(value) for name in _ABOUT if (value := getattr(recorded.event, name, None))}
    experiment_id = about.get("experiment_id") or about.get("trial_id", "").rpartition("-")[0]
    if experiment_id and await sight.covers(experiment_id, recorded.seq):
        return Change(seq=recorded.seq, name=recorded.envelope.name, correlation=experiment_id, event=about)
    if aggregate not in _SHARED:
        return None
    agents = {"agent_id": about["agent_id"]} if "agent_id" in about else {}
    return Change(seq=recorded.seq, name=recorded.envelope.name, correlation="", event=agents)


ROUTES = (
    get(
        f"{PREFIX}/status/changes",
        follow_changes,
        ChangesQuery,
        "text/event-stream",
        "Follow what changes, without what it is",
    ),
)
