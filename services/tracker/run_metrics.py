"""What a run's metrics mean besides their series: the newest value of each, and the points that no series holds."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import asyncpg
import msgspec

from services.tracker.rows import text
from shared.volume import MetricBatch, MetricPoint

_NEWEST = """
INSERT INTO run_metrics AS m (run_id, name, step, time_us, value)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[])
ON CONFLICT (run_id, name) DO UPDATE SET step = EXCLUDED.step, time_us = EXCLUDED.time_us, value = EXCLUDED.value
WHERE (m.step, m.time_us, m.value) < (EXCLUDED.step, EXCLUDED.time_us, EXCLUDED.value)
"""
_KEPT = """
INSERT INTO run_points (run_id, name, step, time_us, value)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::float8[]) ON CONFLICT DO NOTHING
"""
_OF_MODELS = """
INSERT INTO model_metrics AS m (model_id, run_id, name, dataset_name, dataset_digest, step, time_us, value)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                     $8::float8[])
ON CONFLICT (model_id, run_id, name, md5(dataset_name), md5(dataset_digest))
DO UPDATE SET step = EXCLUDED.step, time_us = EXCLUDED.time_us, value = EXCLUDED.value
WHERE (m.step, m.time_us, m.value) < (EXCLUDED.step, EXCLUDED.time_us, EXCLUDED.value)
"""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Point(NamedTuple):
    """A value of a run's metric; in this order the last one is the newest."""

    step: int
    time_us: int
    value: float


def finite(batch: MetricBatch) -> MetricBatch:
    """Return what a series can hold of a run's batch."""
    points = (
        MetricPoint(point.step, point.time, {name: v for name, v in point.values.items() if math.isfinite(v)})
        for point in batch.points
    )
    return msgspec.structs.replace(batch, points=tuple(points))


async def write(connection: Connection, batches: Iterable[MetricBatch]) -> None:
    """Write what is kept of the batches of runs beside their series. May be repeated."""
    newest: dict[tuple[str, ...], Point] = {}
    of_models: dict[tuple[str, ...], Point] = {}
    kept: set[tuple[str | int | float, ...]] = set()
    for batch in batches:
        for name, point in _points(batch):
            _note(newest, (batch.trial_id, name), point)
            if point.step == 0 or not math.isfinite(point.value):
                kept.add((batch.trial_id, name, *point))
            if batch.model is not None:
                model = batch.model
                dataset = (text(model.dataset_name), text(model.dataset_digest))
                _note(of_models, (text(model.model_id), batch.trial_id, name, *dataset), point)
    for sql, found in ((_NEWEST, newest), (_OF_MODELS, of_models)):
        if found:
            await connection.execute(sql, *_columns((*key, *point) for key, point in found.items()))
    if kept:
        await connection.execute(_KEPT, *_columns(kept))


def _points(batch: MetricBatch) -> Iterator[tuple[str, Point]]:
    for step, time, values in ((point.step, point.time, point.values) for point in batch.points):
        time_us = round(time.timestamp() * 1e6)
        for name, value in values.items():
            yield text(name), Point(step, time_us, value)


def _note(found: dict[tuple[str, ...], Point], key: tuple[str, ...], point: Point) -> None:
    if key not in found or found[key][:2] < point[:2] or (found[key][:2] == point[:2] and _is_more(point, found[key])):
        found[key] = point


def _is_more(point: Point, other: Point) -> bool:
    """As PostgreSQL compares: not a number is more than any number."""
    return math.isnan(point.value) or point.value > other.value


def _columns(found: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*found, strict=True)]
