"""Slot-seconds by who used them, and how full the pools were over time."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from services.gateway import usage
from services.gateway.access.access import principal
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.routes.events import Instant
from services.gateway.usage import By
from services.gateway.views import SlotHistory, SlotUsage
from shared.errors import Problem, Rejected
from shared.events import Role

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_SPAN = timedelta(days=7)


class TimeQuery(Query, frozen=True, kw_only=True):
    """Which time; without an end until now, without a beginning the seven days before the end."""

    since: Instant | None = None
    until: Instant | None = None

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """Return beginning and end. Raises Rejected (400) when there is nothing between."""
        until = min(self.until or now, now)
        since = max(self.since or until - DEFAULT_SPAN, LONG_AGO)
        if since >= until:
            problem = Problem("since", f"{since.isoformat()} is not before the end", f"the end is {until.isoformat()}")
            raise Rejected("the query has mistakes", (problem,), status=400)
        return since, until


class UsageQuery(TimeQuery, frozen=True, kw_only=True):
    """Which time, summed by what."""

    by: By = "user"


class OccupancyQuery(TimeQuery, frozen=True, kw_only=True):
    """Which time, in how many stretches."""

    stretches: Annotated[int, Meta(ge=1, le=1000)] = 100


async def show_usage(call: Call[UsageQuery]) -> SlotUsage:
    """Who used how much, in the workspaces where who asks may look."""
    since, until = call.query.span(datetime.now(UTC))
    mine = principal.get().workspaces(Role.VIEWER)
    return await usage.used(call.parts.database, since, until, call.query.by, mine)


async def show_occupancy(call: Call[OccupancyQuery]) -> SlotHistory:
    """How full the pools were."""
    since, until = call.query.span(datetime.now(UTC))
    return await usage.filled(call.parts.database, since, until, call.query.stretches)


ROUTES = (
    get(f"{PREFIX}/usage", show_usage, UsageQuery, SlotUsage, "Slot-seconds by who used them"),
    get(
        f"{PREFIX}/usage/occupancy",
        show_occupancy,
        OccupancyQuery,
        SlotHistory,
        "How full the pools were, over time",
    ),
)
