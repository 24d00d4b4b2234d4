"""All points of a trial or an experiment as a file, sent as it is read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta

from services.gateway import export, queries, series, sse
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.export import Run, Selection
from services.gateway.export_formats import FORMATS
from services.gateway.routes.metrics import Group, MetricName, Step
from shared.errors import Rejected

MAX_EXPORTS = 4  # at a time; each holds some megabytes
PATIENCE_S = 10.0
LOT_POINTS = 65_536
ANY_FORMAT = "*/*"  # as the query's `format` says

EXPORTS = web.AppKey("exports", asyncio.Semaphore)


class ExportQuery(Query, frozen=True, kw_only=True):
    """Which series, as what."""

    format: Annotated[Literal["csv", "ndjson", "parquet"], Meta(description="ndjson: a JSON object a line")] = "csv"
    group: Annotated[Group, Meta(description="default: all")] | None = None
    name: MetricName | None = None
    from_step: Annotated[Step, Meta(description="leave out what comes before")] = 0
    archived: Annotated[bool, Meta(description="also what a later attempt has reported again")] = False


async def export_of_trial(call: Call[ExportQuery]) -> web.StreamResponse:
    """All points of a trial."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    return await _export(call, "t.id", trial_id)


async def export_of_experiment(call: Call[ExportQuery]) -> web.StreamResponse:
    """All points of all trials."""
    experiment_id = call.id("experiment")
    await queries.check_experiment(call.parts.database, experiment_id)
    return await _export(call, "t.experiment_id", experiment_id)


async def _export(call: Call[ExportQuery], owner: series.Owner, owner_id: str) -> web.StreamResponse:
    query = call.query
    form = FORMATS[query.format]()
    name = f"{owner_id}-metrics.{query.format}"
    headers = {
        "Content-Type": form.media_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    response = web.StreamResponse(headers=headers)
    selection = Selection(group=query.group, name=query.name, archived=query.archived, from_step=query.from_step)
    async with _place(call.request.app[EXPORTS]):
        await response.prepare(call.request)
        await response.write(form.start())
        async for lot in _lots(export.runs(call.parts.database, owner, owner_id, selection)):
            body = await asyncio.to_thread(form.write, lot)  # deflating a lot takes some 10 ms
            async with asyncio.timeout(sse.SLOW_S):
                await response.write(body)
        await response.write_eof(form.end())
    return response


async def _lots(runs: AsyncIterator[Run]) -> AsyncIterator[list[Run]]:
    lot: list[Run] = []
    num_points = 0
    async for run in runs:
        lot.append(run)
        num_points += len(run.points)
        if num_points >= LOT_POINTS:
            yield lot
            lot, num_points = [], 0
    if lot:
        yield lot


@contextlib.asynccontextmanager
async def _place(places: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await places.acquire()
    except TimeoutError as error:
        raise Rejected(f"{MAX_EXPORTS} exports are running", status=HTTPStatus.SERVICE_UNAVAILABLE) from error
    try:
        yield
    finally:
        places.release()


ROUTES = (
    get(
        f"{PREFIX}/trials/{{id}}/metrics/export",
        export_of_trial,
        ExportQuery,
        ANY_FORMAT,
        "All points of a trial's metrics, as a file",
    ),
    get(
        f"{PREFIX}/experiments/{{id}}/metrics/export",
        export_of_experiment,
        ExportQuery,
        ANY_FORMAT,
        "All points of all trials' metrics, as a file",
    ),
)
