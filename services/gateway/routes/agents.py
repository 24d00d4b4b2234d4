"""The cluster: agents with their slots, which of them take work, and the queue for them."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import administration, cluster, cursor, intents, paging, waiting
from services.gateway.api import PREFIX, Call, NoQuery, PastQuery, Route, get, json_response, post
from services.gateway.cursor import Cursor
from services.gateway.lists import PastPartQuery
from services.gateway.views.agents import Agent, AgentList
from services.gateway.views.queue import QueueView
from shared.events import AgentDisabled, AgentDrainRequested, AgentEnabled, AgentIntent
from shared.queue import QueueQuestion

MAX_GRACE_S = 30 * 24 * 3600.0


class QueueQuery(PastQuery, frozen=True, kw_only=True):
    """How much of the queue, and of which pool. A page begins after the trial that the one before it ended with."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    cursor: Cursor | None = None
    pool: Annotated[str, Meta(pattern=r"^[^\x00]{0,256}$")] | None = None


class SlotsQuery(NoQuery, frozen=True, kw_only=True):
    """Which slots; without them the agent as a whole."""

    slots: Annotated[str, Meta(pattern="^[0-9]{1,4}(,[0-9]{1,4}){0,255}$", description="numbers: 0,3")] | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The slots' numbers."""
        return tuple(sorted({int(number) for number in (self.slots or "").split(",") if number}))


class DrainQuery(SlotsQuery, frozen=True, kw_only=True):
    """Which slots, and for how long what runs there may go on."""

    grace_s: Annotated[float, Meta(ge=0, le=MAX_GRACE_S, description="without it, to its end")] | None = None


async def list_agents(call: Call[PastPartQuery]) -> AgentList:
    """All agents and the trials on their slots."""
    async with call.reading() as database:
        found = await cluster.agents(database)
    items, more = paging.part(found, lambda agent: (agent.id,), after=call.query.cursor, limit=call.query.limit)
    return AgentList(items=items, next_cursor=more)


async def show_queue(call: Call[QueueQuery]) -> QueueView:
    """The trials that wait, in order, and why; of the past, in the order they were requested, and not why."""
    query = call.query
    place = cursor.read(query.cursor, cluster.QueuePlace, cluster.QueuePlace())
    question = QueueQuestion(
        min_position=query.min_seq,
        pool_id=query.pool,
        after=place.after,
        after_trial=place.trial_id,
        limit=query.limit,
    )
    if call.as_of is None:
        return await waiting.queue(call.parts, question)
    async with call.reading() as database:
        return await cluster.waiting(database, question, waiting.PAST)


async def drain(call: Call[DrainQuery]) -> web.StreamResponse:
    """Give an agent no new work."""
    return await _administer(call, AgentDrainRequested, call.query.numbers, call.query.grace_s)


def _set(intent: type[AgentIntent]) -> Callable[[Call[SlotsQuery]], Awaitable[web.StreamResponse]]:
    async def set_agent(call: Call[SlotsQuery]) -> web.StreamResponse:
        return await _administer(call, intent, call.query.numbers, None)

    return set_agent


async def _administer(
    call: Call[DrainQuery] | Call[SlotsQuery], intent: type[AgentIntent], slots: tuple[int, ...], grace_s: float | None
) -> web.StreamResponse:
    parts, agent_id = call.parts, call.id("agent")
    event = administration.agent_intent(intent, agent_id, slots, grace_s, await cluster.agents(parts.database))
    seq = await intents.administer(parts.client, event)
    await parts.position.wait(seq)
    (shown,) = [agent for agent in await cluster.agents(parts.database) if agent.id == agent_id]
    return json_response(shown, seq=seq)


def _route(verb: str, intent: type[AgentIntent], summary: str) -> Route:
    path = f"{PREFIX}/agents/{{id}}/{verb}"
    return post(path, _set(intent), Agent, summary, query=SlotsQuery, status=HTTPStatus.OK, problems=(404, 422))


ROUTES = (
    get(f"{PREFIX}/agents", list_agents, PastPartQuery, AgentList, "List agents and their slots", is_cached=True),
    post(
        f"{PREFIX}/agents/{{id}}/drain",
        drain,
        Agent,
        "Give an agent, or slots of it, no new work; what runs there ends, or stops when a grace period is over",
        query=DrainQuery,
        status=HTTPStatus.OK,
        problems=(404, 422),
    ),
    _route("disable", AgentDisabled, "Take an agent, or slots of it, out of use; what runs there is asked to stop"),
    _route("enable", AgentEnabled, "Let an agent, or slots of it, take work again"),
    get(f"{PREFIX}/queue", show_queue, QueueQuery, QueueView, "Trials that wait for slots, and why"),
)
