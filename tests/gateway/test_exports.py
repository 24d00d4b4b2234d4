"""Whole series as files: what is written is what others read."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from services.gateway.export import Origin, Run
from services.gateway.export_formats import COLUMNS, Csv, JsonLines, Parquet
from services.gateway.routes.exports import MAX_EXPORTS
from shared import subjects, volume
from shared.series import points_of
from shared.volume import MetricBatch, MetricPoint
from tests.gateway.conftest import Api
from tests.support.eventually import eventually
from tests.tracker import story

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row: TypeAlias = tuple[Any, ...]

_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9)
_values = st.floats(allow_nan=False, allow_infinity=False)
_reports = st.tuples(st.integers(0, 2**53), st.integers(0, 4_000_000_000_000_000), _values)
_points = st.lists(_reports, min_size=1, max_size=9).map(points_of)
_runs = st.builds(
    Run,
    origin=st.builds(
        Origin,
        st.sampled_from(["k3f9x2ab-1", "k3f9x2ab-2"]),
        st.sampled_from(["training", "validation"]),
        _names,
        st.integers(1, 3),
    ),
    is_archived=st.booleans(),
    points=_points,
)
lots = st.lists(st.lists(_runs, min_size=1, max_size=5), max_size=3)


def rows(lots: list[list[Run]]) -> Iterator[Row]:
    """What a file of these runs holds."""
    for run in (run for lot in lots for run in lot):
        for step, time_us, value in zip(run.points.steps, run.points.times_us, run.points.values, strict=True):
            yield *run.origin, step, EPOCH + timedelta(microseconds=time_us), value, run.is_archived


def written(form: Csv | JsonLines | Parquet, lots: list[list[Run]]) -> bytes:
    """A whole file."""
    return b"".join([form.start(), *map(form.write, lots), form.end()])


@given(lots)
@settings(deadline=None)
def test_pyarrow_reads_the_parquet_file(lots: list[list[Run]]) -> None:
    table = parquet.read_table(io.BytesIO(written(Parquet(), lots)))
    assert table.column_names == list(COLUMNS)
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert [tuple(row[name] for name in COLUMNS) for row in table.to_pylist()] == list(rows(lots))


def test_a_parquet_file_of_many_series_is_read() -> None:
    origins = [Origin("x-1", "training", f"metric {n}", 1) for n in range(700)]
    points = [points_of([(n, n, n / 7)]) for n in range(700)]
    runs = [Run(origin=origins[n], is_archived=n % 3 == 0, points=points[n]) for n in range(700)]
    table = parquet.read_table(io.BytesIO(written(Parquet(), [runs])))
    assert [tuple(row[name] for name in COLUMNS) for row in table.to_pylist()] == list(rows([runs]))


@given(lots)
def test_the_csv_file_has_every_point(lots: list[list[Run]]) -> None:
    header, *lines = csv.reader(io.StringIO(written(Csv(), lots).decode(), newline=""))
    assert header == list(COLUMNS)
    assert [_typed(line) for line in lines] == list(rows(lots))


@given(lots)
def test_the_json_lines_have_every_point(lots: list[list[Run]]) -> None:
    lines = written(JsonLines(), lots).decode().split("\n")[:-1]
    found = [json.loads(line) for line in lines]
    assert [tuple(item[name] for name in COLUMNS) for item in found] == [
        (*row[:5], row[5].isoformat(timespec="microseconds").replace("+00:00", "Z"), *row[6:]) for row in rows(lots)
    ]


def _typed(line: list[str]) -> Row:
    trial_id, group, name, epoch, step, time, value, archived = line
    assert archived in {"true", "false"}
    at = datetime.fromisoformat(time)
    return trial_id, group, name, int(epoch), int(step), at, float(value), archived == "true"


async def tell(api: Api, epoch: int, *steps: int, index: int = 1) -> None:
    """Report the step as the loss, and wait until it is shown."""
    points = tuple(MetricPoint(step=step, time=EPOCH, values={"loss": epoch * 1000.0 + step}) for step in steps)
    trial_id = story.trial(index)
    batch = MetricBatch(trial_id=trial_id, experiment_id=story.EXPERIMENT, epoch=epoch, points=points)
    await api.log.jetstream().publish(subjects.metrics_subject("a1", trial_id), volume.encode(batch))

    async def is_shown() -> bool:
        shown = await api.get(f"/api/v1/trials/{trial_id}/metrics", name="loss")
        return bool(shown["series"]) and shown["series"][0]["points"][-1] == [steps[-1], epoch * 1000.0 + steps[-1]]

    await eventually(is_shown)


async def export(api: Api, path: str, **query: object) -> bytes:
    """The file."""
    parameters = {name: str(value) for name, value in query.items()}
    async with api.http.get(f"{api.url}/api/v1/{path}/metrics/export", params=parameters) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def test_a_trial_is_exported_whole_its_failed_attempts_tail_only_when_asked_for(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    await tell(api, 1, *range(1, 101))
    await tell(api, 2, *range(51, 61))
    path = f"trials/{story.trial()}"
    lines = list(csv.DictReader(io.StringIO((await export(api, path, group="training")).decode())))
    assert [float(line["value"]) for line in lines] == [1000.0 + s for s in range(1, 51)] + [
        2000.0 + s for s in range(51, 61)
    ]
    lines = list(csv.DictReader(io.StringIO((await export(api, path, group="training", archived="true")).decode())))
    assert sum(line["archived"] == "true" for line in lines) == 50 and len(lines) == 110


async def test_an_experiment_is_exported_with_validations_in_every_format(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    for index in (1, 2):
        await tell(api, 1, 1, 2, 3, index=index)
    path = f"experiments/{story.EXPERIMENT}"
    lines = list(csv.DictReader(io.StringIO((await export(api, path)).decode())))
    table = parquet.read_table(io.BytesIO(await export(api, path, format="parquet")))
    documents = [json.loads(line) for line in (await export(api, path, format="ndjson")).splitlines()]
    assert len(lines) == len(table) == len(documents) == 2 * 3 + 2 * 4
    assert {(line["trial_id"], line["group"]) for line in lines} == {
        (story.trial(index), group) for index in (1, 2) for group in ("training", "validation")
    }


async def test_many_exports_wait_for_each_other(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    path = f"experiments/{story.EXPERIMENT}"
    files = await asyncio.gather(*(export(api, path) for _ in range(3 * MAX_EXPORTS)))
    assert len(set(files)) == 1


async def test_exports_of_nothing_and_mistakes_are_told(api: Api) -> None:
    await api.get("/api/v1/trials/nope-1/metrics/export", status=404)
    await api.get("/api/v1/experiments/nope/metrics/export", status=404)
    seq = await story.tell(api.log, [story.submitted()])
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}/metrics/export", status=400, format="xlsx")
    empty = parquet.read_table(io.BytesIO(await export(api, f"experiments/{story.EXPERIMENT}", format="parquet")))
    assert len(empty) == 0 and empty.column_names == list(COLUMNS)
