"""Slots over time: of the cluster, and what an experiment has had of them."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from services.gateway import occupancy, queries
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.views import Occupancy, Usage


class OccupancyQuery(Query, frozen=True, kw_only=True):
    """How far back, and how finely."""

    seconds: Annotated[float, Meta(ge=60, le=366 * 86400, description="how far back")] = 6 * 3600.0
    points: Annotated[int, Meta(ge=2, le=1000)] = 240


async def show_occupancy(call: Call[OccupancyQuery]) -> Occupancy:
    """Slots held, by pool."""
    start, end = occupancy.window(call.query.seconds, datetime.now(UTC))
    return await occupancy.occupancy(call.parts.database, start, end, call.query.points)


async def show_usage(call: Call[Query]) -> Usage:
    """What an experiment has had."""
    experiment_id, database = call.id("experiment"), call.parts.database
    await queries.check_experiment(database, experiment_id)
    return await occupancy.usage(database, experiment_id, datetime.now(UTC))


ROUTES = (
    get(f"{PREFIX}/occupancy", show_occupancy, OccupancyQuery, Occupancy, "Slots held over time, by pool"),
    get(f"{PREFIX}/experiments/{{id}}/usage", show_usage, Query, Usage, "Slots and time that an experiment has had"),
)
