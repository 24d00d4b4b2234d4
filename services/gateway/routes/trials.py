"""Trials: one configuration each."""

from typing import Literal

from services.gateway import queries
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.routes.experiments import MaxPoints, MetricName
from services.gateway.views import CheckpointList, SeriesList, Trial


class TrialMetricsQuery(Query, frozen=True, kw_only=True):
    """Which metrics of a trial."""

    group: Literal["validation", "training"] = "training"
    name: MetricName | None = None
    max_points: MaxPoints = 1000


async def show_trial(call: Call[Query]) -> Trial:
    """One trial."""
    return await queries.trial(call.parts.database, call.id("trial"))


async def list_metrics(call: Call[TrialMetricsQuery]) -> SeriesList:
    """The metrics of a trial."""
    trial_id, query = call.id("trial"), call.query
    await queries.trial_is_over(call.parts.database, trial_id)
    return await queries.trial_metrics(call.parts.database, trial_id, query.group, query.name, query.max_points)


async def list_checkpoints(call: Call[Query]) -> CheckpointList:
    """The checkpoints of a trial."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    return await queries.checkpoints(call.parts.database, trial_id=trial_id)


ROUTES = (
    get(f"{PREFIX}/trials/{{id}}", show_trial, Query, Trial, "Show a trial"),
    get(f"{PREFIX}/trials/{{id}}/metrics", list_metrics, TrialMetricsQuery, SeriesList, "Metrics of a trial"),
    get(f"{PREFIX}/trials/{{id}}/checkpoints", list_checkpoints, Query, CheckpointList, "List a trial's checkpoints"),
)
