"""Slot-seconds by who used them, and how full the pools were over time."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from services.gateway import past, queries, usage
from services.gateway.access.access import principal
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.routes.events import Instant
from services.gateway.usage import By
from services.gateway.views.usage import SlotHistory, SlotUsage, Usage
from shared.errors import Problem, Rejected
from shared.events import Role

DEFAULT_SPAN = timedelta(days=7)


class TimeQuery(Query, frozen=True, kw_only=True):
    """Which time; without an end until now, without a beginning the seven days before the end."""

    since: Instant | None = None
    until: Instant | None = None

    @property
    def default_span(self) -> timedelta:
        """How long the time is when nobody says where it begins."""
        return DEFAULT_SPAN

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """Return beginning and end. Raises Rejected (400) when there is nothing between."""
        until = past.in_range(self.until or now, now)
        since = past.in_range(self.since or until - self.default_span, now)
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
    seconds: Annotated[float, Meta(ge=60, le=366 * 86400, description="how far back, without `since`")] | None = None

    @property
    def default_span(self) -> timedelta:
        """How long the time is when nobody says where it begins."""
        return DEFAULT_SPAN if self.seconds is None else timedelta(seconds=self.seconds)


async def show_usage(call: Call[UsageQuery]) -> SlotUsage:
    """Who used how much, in the workspaces where who asks may look."""
    since, until = call.query.span(datetime.now(UTC))
    mine = principal.get().workspaces(Role.VIEWER)
    return await usage.used(call.parts.database, since, until, call.query.by, mine)


async def show_occupancy(call: Call[OccupancyQuery]) -> SlotHistory:
    """How full the pools were."""
    since, until = call.query.span(datetime.now(UTC))
    return await usage.filled(call.parts.database, since, until, call.query.stretches)


async def show_spent(call: Call[Query]) -> Usage:
    """What an experiment has had."""
    experiment_id, database = call.id("experiment"), call.parts.database
    await queries.check_experiment(database, experiment_id)
    return await usage.spent(database, experiment_id, datetime.now(UTC))


ROUTES = (
    get(f"{PREFIX}/experiments/{{id}}/usage", show_spent, Query, Usage, "Slots and time that an experiment has had"),
    get(f"{PREFIX}/usage", show_usage, UsageQuery, SlotUsage, "Slot-seconds by who used them"),
    get(
        f"{PREFIX}/usage/occupancy",
        show_occupancy,
        OccupancyQuery,
        SlotHistory,
        "How full the pools were, over time",
    ),
)
