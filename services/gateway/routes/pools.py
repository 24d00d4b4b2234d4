"""Resource pools: how each is scheduled, and what it has."""

import math
from http import HTTPStatus
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import administration, cluster, intents
from services.gateway.api import PREFIX, Call, NoQuery, PastQuery, get, json_response, post
from services.gateway.views.pools import Pool, PoolList
from shared.errors import Problem, Rejected
from shared.events import Fitting, PolicyType, PoolConfigured, PoolPolicy
from shared.ids import PoolId


class PolicyQuery(NoQuery, frozen=True, kw_only=True):
    """The whole policy; what is left out has its default. Fair share preempts unless told otherwise."""

    type: PolicyType = PolicyType.PRIORITY
    preemption: bool | None = None
    fitting: Fitting = Fitting.BEST
    heterogeneous_fits: bool = False
    reserve_after_s: (
        Annotated[float, Meta(ge=0, le=1e9, description="without it agents are kept for nobody")] | None
    ) = None
    default_priority: Annotated[int, Meta(ge=1, le=99)] = PoolPolicy().default_priority

    def value(self) -> PoolPolicy:
        """Return the policy. Raises Rejected when a number is none."""
        if self.reserve_after_s is not None and not math.isfinite(self.reserve_after_s):
            raise Rejected("the query has mistakes", (Problem("reserve_after_s", "is not finite"),), status=400)
        preempts = self.type is PolicyType.FAIR_SHARE if self.preemption is None else self.preemption
        return msgspec.convert(msgspec.to_builtins(self) | {"preemption": preempts}, PoolPolicy)


async def list_pools(call: Call[PastQuery]) -> PoolList:
    """All pools, their policies and what they have."""
    async with call.reading() as database:
        return PoolList(items=await administration.pools(database, await cluster.agents(database)))


async def configure(call: Call[PolicyQuery]) -> web.StreamResponse:
    """Set how a pool is scheduled, for what waits and what runs; also of one that no agent has joined yet."""
    parts = call.parts
    event = PoolConfigured(pool_id=PoolId(call.id("pool")), policy=call.query.value())
    seq = await intents.administer(parts.client, event)
    await parts.position.shown(seq)
    return json_response(await administration.configured(parts.database, event), seq=seq)


ROUTES = (
    get(f"{PREFIX}/pools", list_pools, PastQuery, PoolList, "List resource pools, their policies and what they have"),
    post(
        f"{PREFIX}/pools/{{id}}",
        configure,
        Pool,
        "Set how a resource pool is scheduled",
        query=PolicyQuery,
        status=HTTPStatus.OK,
        problems=(404,),
        method="PUT",
    ),
)
