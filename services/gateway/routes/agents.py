"""The cluster: agents with their slots, and the queue for them."""

from typing import Annotated

from msgspec import Meta

from services.gateway import cluster
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.views import AgentList, QueueView


class QueueQuery(Query, frozen=True, kw_only=True):
    """How much of the queue."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


async def list_agents(call: Call[Query]) -> AgentList:
    """All agents and the trials on their slots."""
    return AgentList(items=await cluster.agents(call.parts.database))


async def show_queue(call: Call[QueueQuery]) -> QueueView:
    """The trials that wait, in order, and why."""
    return await cluster.waiting(call.parts.database, call.query.limit)


ROUTES = (
    get(f"{PREFIX}/agents", list_agents, Query, AgentList, "List agents and their slots"),
    get(f"{PREFIX}/queue", show_queue, QueueQuery, QueueView, "Trials that wait for slots, and why"),
)
