"""Training metrics from reports to charts, on a real PostgreSQL, beside a model that keeps every point in a dict."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gateway import series
from services.gateway.past import Database
from services.gateway.series import MAX_STEP, Window
from services.tracker import attempts, chunks, sealing
from services.tracker.attempts import Attempts, Key
from services.tracker.migrate import MIGRATIONS, migrate
from shared import postgres
from shared.series import points_of

TRIAL = "k3f9x2ab-1"
CHUNK_POINTS, BLOCK_POINTS = 8, 2

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Report: TypeAlias = tuple[int, int, float]  # step, time, value
Batch: TypeAlias = tuple[int, list[Report]]  # epoch and reports

_reports = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 3), st.integers(-9, 9).map(float)), min_size=1)
_runs = st.tuples(st.integers(0, 99), st.integers(1, 40)).map(
    lambda run: [(step, 7, float(step * 37 % 19)) for step in range(run[0], sum(run))]
)
batches = st.lists(st.tuples(st.integers(1, 3), _reports | _runs), min_size=1, max_size=12)


@pytest.fixture
async def connection(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    """A tracker's connection to a read model whose chunks are small, with one trial."""
    for module in (attempts, chunks):
        monkeypatch.setattr(module, "CHUNK_POINTS", CHUNK_POINTS)
    monkeypatch.setattr(attempts, "MAX_TAIL_ROWS", 3)
    monkeypatch.setattr(sealing, "BLOCK_POINTS", BLOCK_POINTS)
    monkeypatch.setattr(series, "_BLOCKS_PER_CHUNK", CHUNK_POINTS // BLOCK_POINTS)
    connected = await asyncpg.connect(postgres_url)
    await migrate(connected)
    await connected.execute(
        "INSERT INTO trials (id, experiment_id, index, state, hyperparameters, seed, slots, pool_id, origin,"
        " requested_at, requested_seq, waiting_since, seq)"
        " VALUES ($1, 'x', 1, 'RUNNING', '{}', 1, 1, 'default', 'random', now(), 1, now(), 1)",
        TRIAL,
    )
    yield connected
    await connected.close()


@pytest.fixture
async def database(postgres_url: str, connection: Connection) -> AsyncIterator[Database]:
    """The gateway's connections to it."""
    async with postgres.pool(postgres_url, max_size=2) as pool:
        yield pool


async def write(connection: Connection, told: list[Batch], store: Attempts | None = None) -> None:
    """Write each batch in a transaction of its own."""
    store = store or Attempts()
    for epoch, reports in told:
        async with connection.transaction():
            await store.write(connection, {Key(TRIAL, "training", "loss", epoch): points_of(reports)})


async def emptied(database: Database) -> None:
    """Forget all metrics."""
    await database.execute("DELETE FROM metric_attempts; DELETE FROM metric_chunks; DELETE FROM metric_tails")


async def read(
    database: Database, *, max_points: int = 10_000, start: int = 0, stop: int = MAX_STEP
) -> list[tuple[int, float]]:
    """The points of the one series."""
    window = Window(from_step=start, to_step=stop, max_points=max_points)
    (one,) = (await series.read(database, "t.id", TRIAL, "training", None, window)).series
    return one.points


async def num_stored(database: Database) -> int:
    """How many points there are, archived ones too."""
    tables = "SELECT num_points FROM metric_chunks UNION ALL SELECT num_points FROM metric_tails"
    return int(await database.fetchval(f"SELECT sum(num_points) FROM ({tables}) AS stored"))


def model(told: list[Batch]) -> tuple[int, list[tuple[int, float]]]:
    """How many points are kept, and which count: of a step the latest report of the last attempt that reached it."""
    kept: dict[tuple[int, int], tuple[int, float]] = {}
    for epoch, reports in told:
        for step, time_us, value in reports:
            kept[epoch, step] = max(kept.get((epoch, step), (-1, 0.0)), (time_us, value))
    begins = {epoch: min(step for e, step in kept if e == epoch) for epoch, _ in kept}
    floors = {epoch: min((begins[e] for e in begins if e > epoch), default=MAX_STEP + 1) for epoch in begins}
    shown = {step: value for (epoch, step), (_, value) in kept.items() if step < floors[epoch]}
    return len(kept), sorted(shown.items())


_on_one_database = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_on_one_database
@given(batches, st.data())
async def test_any_order_and_repetition_of_batches_gives_the_series_of_the_model(
    connection: Connection, database: Database, told: list[Batch], data: st.DataObject
) -> None:
    await emptied(database)
    again = data.draw(st.lists(st.sampled_from(told), max_size=6))
    await write(connection, data.draw(st.permutations([*told, *again])))
    num_kept, shown = model(told)
    assert await read(database) == shown
    assert await num_stored(database) == num_kept


@_on_one_database
@given(batches, st.integers(0, 110), st.integers(0, 110), st.integers(4, 40))
async def test_a_chart_of_any_part_shows_its_extremes(
    connection: Connection, database: Database, told: list[Batch], start: int, stop: int, max_points: int
) -> None:
    await emptied(database)
    await write(connection, told)
    part = [(step, value) for step, value in model(told)[1] if start <= step <= stop]
    found = await read(database, max_points=max_points, start=start, stop=stop)
    assert len(found) <= max_points and set(found) <= set(part) and found == sorted(set(found))
    if len(part) <= max_points // 2:
        assert found == part
    if part:
        assert (found[0], found[-1]) == (part[0], part[-1])
        values, shown = [value for _, value in part], [value for _, value in found]
        assert (min(shown), max(shown)) == (min(values), max(values))


@pytest.mark.parametrize("max_points", [4, 8, 16, 40, 100, 400])
async def test_every_resolution_shows_the_peak(connection: Connection, database: Database, max_points: int) -> None:
    peak = [(step, 0, 100.0 if step == 77 else -50.0 if step == 123 else float(step % 5)) for step in range(300)]
    await write(connection, [(1, peak[at : at + 7]) for at in range(0, 300, 7)])
    found = await read(database, max_points=max_points)
    assert {(77, 100.0), (123, -50.0), (0, 0.0), (299, 4.0)} <= set(found)
    assert len(found) <= max_points


async def test_a_second_instance_goes_on_where_the_first_one_left(connection: Connection, database: Database) -> None:
    first, second = Attempts(), Attempts()
    await write(connection, [(1, [(step, 0, 0.5)]) for step in range(5)], first)
    await write(connection, [(1, [(step, 0, 0.5)]) for step in range(5, 20)], second)
    first.forget()
    await write(connection, [(1, [(step, 0, 0.5)]) for step in range(18, 30)], first)
    assert await read(database) == [(step, 0.5) for step in range(30)]
    assert await num_stored(database) == 30


async def test_the_tail_of_a_failed_attempt_is_archived_not_deleted(connection: Connection, database: Database) -> None:
    await write(
        connection, [(1, [(step, 0, 1.0) for step in range(20)]), (2, [(step, 1, 2.0) for step in range(10, 15)])]
    )
    assert await read(database) == [(step, 1.0 if step < 10 else 2.0) for step in range(15)]
    assert await num_stored(database) == 25


async def test_rows_of_an_earlier_version_are_taken_over(connection: Connection, database: Database) -> None:
    await connection.execute(
        "INSERT INTO metrics SELECT $1, 'training', 'loss', n, 1, n / 2.0, to_timestamp(n) "
        "FROM generate_series(1, 9) AS n",
        TRIAL,
    )
    sql = next(MIGRATIONS.glob("0003*")).read_text()
    await connection.execute(sql[sql.index("-- What earlier versions stored") :])
    assert await read(database) == [(step, step / 2) for step in range(1, 10)]
    await write(connection, [(1, [(step, 0, 0.0) for step in range(5, 12)])])
    assert await read(database) == [(step, step / 2 if step < 10 else 0.0) for step in range(1, 12)]
