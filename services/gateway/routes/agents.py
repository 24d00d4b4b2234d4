"""The cluster: agents with their slots, and the queue for them."""

from typing import Annotated

from msgspec import Meta

from services.gateway import cluster, waiting
from services.gateway.api import PREFIX, Call, PastQuery, get
from services.gateway.routes.experiments import Cursor
from services.gateway.views import AgentList, QueueView
from shared.queue import QueueQuestion


class QueueQuery(PastQuery, frozen=True, kw_only=True):
    """How much of the queue, and of which pool. The queue may move between two pages."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    cursor: Cursor | None = None
    pool: Annotated[str, Meta(max_length=256)] | None = None


async def list_agents(call: Call[PastQuery]) -> AgentList:
    """All agents and the trials on their slots."""
    async with call.reading() as database:
        return AgentList(items=await cluster.agents(database))


async def show_queue(call: Call[QueueQuery]) -> QueueView:
    """The trials that wait, in order, and why; of the past, in the order they were requested, and not why."""
    query = call.query
    question = QueueQuestion(
        min_position=query.min_seq, pool_id=query.pool, after=int(query.cursor or 0), limit=query.limit
    )
    if call.as_of is None:
        return await waiting.queue(call.parts, question)
    async with call.reading() as database:
        return await cluster.waiting(database, question, waiting.PAST)


ROUTES = (
    get(f"{PREFIX}/agents", list_agents, PastQuery, AgentList, "List agents and their slots"),
    get(f"{PREFIX}/queue", show_queue, QueueQuery, QueueView, "Trials that wait for slots, and why"),
)
