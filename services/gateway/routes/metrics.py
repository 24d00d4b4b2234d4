"""Metrics of a trial, or of all trials of an experiment: for charts, and whole."""

from typing import Annotated

from msgspec import Meta

from services.gateway import queries, series
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.past import Database
from services.gateway.series import MAX_STEP, Window
from services.gateway.views.metrics import MetricNames, SeriesList

Group = Annotated[
    str,
    Meta(
        pattern="^[a-z][a-z0-9_-]{0,62}$",
        description="training, validation, profiling, system, or one that the training script named",
    ),
]
MetricName = Annotated[str, Meta(pattern=r"^[^\x00]{1,256}$")]
Step = Annotated[int, Meta(ge=0, le=MAX_STEP)]
MaxPoints = Annotated[
    int,
    Meta(
        ge=2,
        le=10_000,
        description="of a longer series, the first, lowest, highest and last point of as many stretches as fit",
    ),
]


_ATTEMPT = "all that this attempt (its allocation's epoch) reported, also what a later one reported again"


class SeriesQuery(Query, frozen=True, kw_only=True):
    """Which metrics, and which part of them."""

    name: MetricName | None = None
    from_step: Step = 0
    to_step: Step = MAX_STEP
    attempt: Annotated[int, Meta(ge=1, le=2**31, description=_ATTEMPT)] | None = None


class TrialMetricsQuery(SeriesQuery, frozen=True, kw_only=True):
    """Which metrics of a trial."""

    group: Group = "training"
    max_points: MaxPoints = 1000


class ExperimentMetricsQuery(SeriesQuery, frozen=True, kw_only=True):
    """Which metrics of all trials."""

    group: Group = "validation"
    max_points: MaxPoints = 200


async def list_of_trial(call: Call[TrialMetricsQuery]) -> SeriesList:
    """The metrics of a trial."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    return await _read(call.parts.database, "t.id", trial_id, call.query)


async def list_of_experiment(call: Call[ExperimentMetricsQuery]) -> SeriesList:
    """The metrics of all trials."""
    experiment_id = call.id("experiment")
    await queries.check_experiment(call.parts.database, experiment_id)
    return await _read(call.parts.database, "t.experiment_id", experiment_id, call.query)


async def names_of_trial(call: Call[Query]) -> MetricNames:
    """Which metrics a trial has."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    return await series.names(call.parts.database, "t.id", trial_id)


async def names_of_experiment(call: Call[Query]) -> MetricNames:
    """Which metrics an experiment's trials have."""
    experiment_id = call.id("experiment")
    await queries.check_experiment(call.parts.database, experiment_id)
    return await series.names(call.parts.database, "t.experiment_id", experiment_id)


async def _read(
    database: Database,
    owner: series.Owner,
    owner_id: str,
    query: TrialMetricsQuery | ExperimentMetricsQuery,
) -> SeriesList:
    window = Window(
        from_step=query.from_step, to_step=query.to_step, max_points=query.max_points, attempt=query.attempt
    )
    return await series.read(database, owner, owner_id, query.group, query.name, window)


ROUTES = (
    get(f"{PREFIX}/trials/{{id}}/metrics/names", names_of_trial, Query, MetricNames, "Which metrics a trial has"),
    get(
        f"{PREFIX}/experiments/{{id}}/metrics/names",
        names_of_experiment,
        Query,
        MetricNames,
        "Which metrics an experiment's trials have",
    ),
    get(
        f"{PREFIX}/trials/{{id}}/metrics",
        list_of_trial,
        TrialMetricsQuery,
        SeriesList,
        "Metrics of a trial",
        is_cached=True,
    ),
    get(
        f"{PREFIX}/experiments/{{id}}/metrics",
        list_of_experiment,
        ExperimentMetricsQuery,
        SeriesList,
        "Metrics of all trials of an experiment",
        is_cached=True,
    ),
)
