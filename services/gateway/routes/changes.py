"""What changes, for those who may not read the whole log: that something happened, of theirs what it was about."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import sight, sse, tap
from services.gateway.api import MAX_SEQ, PREFIX, Call, Query, get
from services.gateway.sight import Sight
from services.gateway.views.events import Change
from shared import positions, subjects
from shared.log import Message

_SHARED = frozenset({"agent", "pool"})  # what everybody sees some of
_ABOUT = ("experiment_id", "trial_id", "agent_id")


class ChangesQuery(Query, frozen=True, kw_only=True):
    """From where."""

    after: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="only events with a higher sequence")] | None = None


async def follow_changes(call: Call[ChangesQuery]) -> web.StreamResponse:
    """Changes as they come; from now on, unless the client says from where."""
    after = sse.begin_after(call.request, call.query.after)
    if after is None:
        after = await positions.head(call.parts.client)
    sighted = sight.of(call.parts)
    wanted = tap.follower(call.parts.client, tap.Selection(), after, None)
    async with tap.reading(wanted) as following, sse.opened(call.request) as stream:
        while True:
            await stream.send(await _changes(await following.next(), sighted))
            await stream.keep_alive()
    return stream.response


async def _changes(messages: Sequence[Message], sighted: Sight) -> list[tuple[int, bytes]]:
    seen = await sighted.messages(messages)
    changes = ((message, _change(message, is_seen=message.seq in seen)) for message in messages)
    return [(message.seq, msgspec.json.encode(change)) for message, change in changes if change is not None]


def _change(message: Message, *, is_seen: bool) -> Change | None:
    recorded, subject = tap.decode(message), subjects.parse_event_subject(message.subject)
    if recorded is None:
        return None
    about = {name: str(value) for name in _ABOUT if (value := getattr(recorded.event, name, None))}
    experiment_id = sight.experiment_of(recorded, subject.aggregate, subject.aggregate_id)
    if is_seen and experiment_id is not None:
        return Change(seq=recorded.seq, name=recorded.envelope.name, correlation=experiment_id, event=about)
    if subject.aggregate not in _SHARED:
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
