"""Metrics of runs: stored on their stream like those of trials, and read back whole."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated

import asyncpg
from msgspec import Meta, field

from services.gateway import export
from services.gateway.export import Selection
from services.gateway.mlflow import intents, reading, wire
from services.gateway.mlflow.intents import TRACKING
from services.gateway.mlflow.operations import Asked, Operation, operation
from services.gateway.mlflow.paging import start_of, token_of
from services.gateway.mlflow.runs import RunById, annotate
from services.gateway.mlflow.wire import Empty, Said
from services.gateway.series import VALIDATION
from shared.errors import Problem, Rejected
from shared.events import Role
from shared.ids import ExperimentId, ModelId, RunId
from shared.volume import RUN, MetricBatch, MetricPoint, ModelMetrics

MAX_STEP = 2**53
MAX_METRICS = 1_000  # in a batch; MLflow's own limits
MAX_ITEMS = 100  # parameters, and tags
PAGE_POINTS = 25_000

_KEPT = """
SELECT step, time_us, value FROM run_points WHERE run_id = $1 AND name = $2 ORDER BY step, time_us, value
LIMIT $3 OFFSET $4
"""


class LogMetric(RunById, frozen=True, kw_only=True):
    """A value of one metric."""

    key: wire.Key
    value: wire.Number
    timestamp: wire.Milliseconds
    step: int = 0
    model_id: wire.Id = ""
    dataset_name: wire.DatasetText = ""
    dataset_digest: wire.DatasetText = ""


class LogBatch(RunById, frozen=True, kw_only=True):
    """Much at once."""

    metrics: Annotated[list[wire.Metric], Meta(max_length=MAX_METRICS)] = field(default_factory=list)
    params: Annotated[list[wire.Pair], Meta(max_length=MAX_ITEMS)] = field(default_factory=list)
    tags: Annotated[list[wire.Pair], Meta(max_length=MAX_ITEMS)] = field(default_factory=list)


class GetHistory(RunById, frozen=True, kw_only=True):
    """Which metric of which run."""

    metric_key: str
    max_results: Annotated[int, Meta(ge=1)] = PAGE_POINTS
    page_token: str = ""


class History(Said, frozen=True, kw_only=True):
    """A page of a metric's values, by step and time."""

    metrics: list[wire.Metric]
    next_page_token: str = ""


async def log_metric(asked: Asked[LogMetric]) -> Empty:
    """Log a value of a metric."""
    said = asked.said
    metric = wire.Metric(
        key=said.key,
        value=said.value,
        timestamp=said.timestamp,
        step=said.step,
        model_id=said.model_id,
        dataset_name=said.dataset_name,
        dataset_digest=said.dataset_digest,
    )
    _check([metric])
    return await _log(asked, [metric])


async def log_batch(asked: Asked[LogBatch]) -> Empty:
    """Log parameters, tags and metrics."""
    said = asked.said
    params, tags = ({item.key: item.value for item in items} for items in (said.params, said.tags))
    _check(said.metrics)
    if params or tags:
        await annotate(asked, params=params, tags=tags)
    return await _log(asked, said.metrics)


async def _log(asked: Asked[LogMetric] | Asked[LogBatch], metrics: list[wire.Metric]) -> Empty:
    row = await reading.run(asked.parts.database, asked.said.run_id, Role.EDITOR)
    reading.check_active(row, "run")
    for model_id in {metric.model_id for metric in metrics if metric.model_id}:
        await reading.model(asked.parts.database, model_id, Role.EDITOR)
    stored = await intents.publish(asked.parts.client, batches(row, metrics))
    tracking = asked.request.app[TRACKING]
    tracking.newest_metrics = max(tracking.newest_metrics, stored)
    return Empty()


def batches(row: asyncpg.Record, metrics: Iterable[wire.Metric]) -> Iterator[MetricBatch]:
    """Yield a run's metrics as they are stored: those of each model by themselves."""
    by_model: defaultdict[ModelMetrics | None, list[wire.Metric]] = defaultdict(list)
    for metric in metrics:
        by_model[_model(metric)].append(metric)
    for model, found in by_model.items():
        yield MetricBatch(
            trial_id=RunId(row["id"]),
            experiment_id=ExperimentId(row["experiment_id"]),
            epoch=1,
            group=RUN,
            points=tuple(_points(found)),
            model=model,
        )


async def history(asked: Asked[GetHistory]) -> History:
    """Show all values of a metric, page by page: what has no step or is not finite, then the series."""
    said, parts = asked.said, asked.parts
    row = await reading.run(parts.database, said.run_id)
    await parts.metrics.wait(asked.request.app[TRACKING].newest_metrics)
    key, limit = said.metric_key.replace("\0", ""), min(said.max_results, PAGE_POINTS)
    cursor, in_series = divmod(start_of(said.page_token), 2)
    found: list[wire.Metric] = []
    if not in_series:
        kept = await parts.database.fetch(_KEPT, row["id"], key, limit, cursor)
        found = [_metric(key, *point) for point in kept]
        if len(found) == limit:
            return History(metrics=found, next_page_token=token_of(2 * (cursor + limit)))
    selection = _series(row, key)
    begin = cursor if in_series else int(selection.group == RUN)  # a run's points at step 0 are among those kept
    async for points in export.series(parts.database, row["id"], selection, after=begin - 1):
        part = points.part(0, limit + 1 - len(found))
        found += [_metric(key, *point) for point in zip(part.steps, part.times_us, part.values, strict=True)]
        if len(found) > limit:
            return History(metrics=found[:limit], next_page_token=token_of(2 * found[limit].step + 1))
    return History(metrics=found)


def _series(row: asyncpg.Record, key: str) -> Selection:
    """Return where a metric lies: those of a trial have their group before their name, except validations."""
    if not row["own"]:
        return Selection(group=RUN, name=key)
    group, slash, name = key.partition("/")
    return Selection(group=group, name=name) if slash else Selection(group=VALIDATION, name=key)


def _metric(key: str, step: int, time_us: int, value: float) -> wire.Metric:
    return wire.Metric(key=key, value=wire.number(value), timestamp=time_us // 1000, step=step)


def _points(metrics: Iterable[wire.Metric]) -> Iterator[MetricPoint]:
    """Yield the points: together what was logged at the same step and time, each metric once."""
    together: dict[tuple[int, int, int], dict[str, float]] = {}
    seen: defaultdict[tuple[str, int, int], int] = defaultdict(int)
    for metric in metrics:
        at = (metric.key, metric.step, metric.timestamp)
        together.setdefault((metric.step, metric.timestamp, seen[at]), {})[metric.key] = wire.value_of(metric.value)
        seen[at] += 1
    for (step, time_ms, _), values in together.items():
        yield MetricPoint(step=step, time=wire.instant(time_ms), values=values)


def _model(metric: wire.Metric) -> ModelMetrics | None:
    if not metric.model_id:
        return None
    model_id = ModelId(metric.model_id)
    return ModelMetrics(model_id=model_id, dataset_name=metric.dataset_name, dataset_digest=metric.dataset_digest)


def _check(metrics: Iterable[wire.Metric]) -> None:
    """Raise Rejected with every mistake."""
    problems: list[Problem] = []
    for number, metric in enumerate(metrics):
        if not 0 <= metric.step <= MAX_STEP:
            problems.append(Problem(f"metrics[{number}].step", f"is {metric.step}; it must be from 0 to {MAX_STEP}"))
        try:
            wire.value_of(metric.value)
        except (ValueError, OverflowError):
            problems.append(Problem(f"metrics[{number}].value", f"is {metric.value!r:.100}, which is no number"))
    if problems:
        raise Rejected("the metrics have mistakes", tuple(problems), status=400)


OPERATIONS: tuple[Operation, ...] = (
    operation("POST", "runs/log-metric", LogMetric, log_metric),
    operation("POST", "runs/log-batch", LogBatch, log_batch),
    operation("GET", "metrics/get-history", GetHistory, history, looks=True),
)
