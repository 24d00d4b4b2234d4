"""What a run's metrics become besides their series, and the SQL that finds a metric's newest value."""

import math
import struct
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.tracker import projection, run_metrics
from services.tracker.migrate import migrate
from shared.events import ModelLogged
from shared.ids import ExperimentId, ModelId, RunId
from shared.volume import RUN, MetricBatch, MetricPoint, ModelMetrics
from tests.tracker.test_projection import AT

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
POINTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([1.0, 2.0, math.nan, math.inf])))


def batch(points: list[tuple[int, int, float]], model: ModelMetrics | None = None) -> MetricBatch:
    told = tuple(MetricPoint(step, datetime.fromtimestamp(second, UTC), {"a": value}) for step, second, value in points)
    return MetricBatch(
        trial_id=RunId("r1"), experiment_id=ExperimentId("x"), epoch=1, points=told, group=RUN, model=model
    )


@pytest.fixture
async def migrated(database: Connection) -> Connection:
    """A connection to an empty read model."""
    await migrate(database)
    return database


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(POINTS, max_size=4), again=st.booleans())
async def test_the_newest_value_counts_whatever_the_order(
    migrated: Connection, told: list[list[tuple[int, int, float]]], *, again: bool
) -> None:
    await migrated.execute("TRUNCATE run_metrics, run_points")
    for points in told + (told[::-1] if again else []):
        await run_metrics.write(migrated, [batch(points)])
    every = [point for points in told for point in points]
    newest = [tuple(row) for row in await migrated.fetch("SELECT step, time_us, value FROM run_metrics")]
    largest = max(every, key=lambda point: (*point[:2], math.isnan(point[2]), point[2]), default=None)
    assert repr(newest) == repr([] if largest is None else [(largest[0], largest[1] * 1_000_000, largest[2])])
    kept = {repr(tuple(row)) for row in await migrated.fetch("SELECT step, time_us, value FROM run_points")}
    unheld = [point for point in every if point[0] == 0 or not math.isfinite(point[2])]
    assert kept == {repr((step, second * 1_000_000, value)) for step, second, value in unheld}


async def test_a_models_metrics_are_found_by_model_and_data_set(migrated: Connection) -> None:
    model = ModelMetrics(model_id=ModelId("m-1"), dataset_name="mnist", dataset_digest="d1")
    await run_metrics.write(migrated, [batch([(1, 1, 0.5), (2, 1, 0.75)], model), batch([(3, 1, 1.0)])])
    rows = await migrated.fetch("SELECT model_id, dataset_name, step, value FROM model_metrics")
    assert [tuple(row) for row in rows] == [("m-1", "mnist", 2, 0.75)]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=50))
async def test_postgres_reads_the_numbers_of_a_series(migrated: Connection, values: list[float]) -> None:
    packed = [struct.pack(">d", value) for value in values]
    rows = await migrated.fetch("SELECT float8_of(v) AS value FROM unnest($1::bytea[]) v", packed)
    assert [row["value"] for row in rows] == values


async def test_nested_hyperparameters_are_flat_texts(migrated: Connection) -> None:
    nested = '{"lr": 0.1, "optimizer": {"name": "adam", "betas": [0.9, 0.99], "more": {"on": true}}, "none": null}'
    flat = await migrated.fetchval("SELECT flat($1::jsonb)::text", nested)
    assert flat == (
        '{"lr": "0.1", "none": null, "optimizer.name": "adam", "optimizer.betas": "[0.9, 0.99]",'
        ' "optimizer.more.on": "true"}'
    )


async def test_what_an_older_gateway_let_through_is_folded(migrated: Connection) -> None:
    """Texts that no index holds, and characters that no text of PostgreSQL's holds."""
    long = "".join(map(chr, range(0x4E00, 0x4E00 + 3_000)))
    model = ModelMetrics(model_id=ModelId("m-1\0"), dataset_name=long, dataset_digest=long + "\0")
    await run_metrics.write(migrated, [batch([(1, 1, 0.5)], model)])
    await run_metrics.write(migrated, [batch([(2, 1, 0.75)], model)])
    rows = await migrated.fetch("SELECT model_id, dataset_name, step FROM model_metrics")
    assert [tuple(row) for row in rows] == [("m-1\ufffd", long, 2)]
    logged = ModelLogged(
        model_id=ModelId("m-2"), experiment_id=ExperimentId("0"), name="n", model_type="", run_id=RunId("a\0b")
    )
    for statement in projection.statements(logged, AT):
        await migrated.execute(statement.sql, *statement.args)
    assert await migrated.fetchval("SELECT run_id FROM logged_models") == "a\ufffdb"
