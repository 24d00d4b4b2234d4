"""Questions to the read model: tracked experiments and their runs, with the platform's own experiments and trials.

An own experiment has its id in its name, so that no name leads to one by mistake; its trials are runs that only the
platform changes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import asyncpg
import msgspec

from services.gateway.access.access import principal
from services.gateway.access.permit import require
from services.gateway.filters import Parameters
from services.gateway.mlflow import wire
from services.gateway.mlflow.grammar import Condition, Kind, Order
from services.gateway.mlflow.search import Space, order_by, where
from services.gateway.past import Database
from services.gateway.problems import not_found
from shared import postgres
from shared.errors import Rejected
from shared.events import Role, RunCreated, RunStatus

Row: TypeAlias = asyncpg.Record | dict[str, Any]  # of the read model, or made of an event

_EXPERIMENTS = """
SELECT id, name, workspace, deleted, tags, created_at, updated_at, seq, false AS own FROM tracked_experiments
UNION ALL
SELECT e.id, e.name || ' [' || e.id || ']', e.workspace, e.archived OR e.deletion IS NOT NULL,
       jsonb_build_object('trainmaster.state', e.state, 'trainmaster.searcher', e.searcher,
                          'mlflow.note.content', e.description),
       e.submitted_at, COALESCE(e.ended_at, e.submitted_at), e.seq, true
FROM experiments e
"""
_RUNS = """
SELECT r.id, r.experiment_id, r.name, r.owner, r.status, r.deleted, r.params, r.tags, r.datasets, r.used, r.made,
       r.started_at, r.ended_at, r.seq, false AS own
FROM runs r
UNION ALL
SELECT t.id, t.experiment_id, t.id, e.owner, CASE t.state WHEN 'RUNNING' THEN 'RUNNING' WHEN 'STOPPING'
       THEN 'RUNNING' WHEN 'COMPLETED' THEN 'FINISHED' WHEN 'FAILED' THEN 'FAILED' WHEN 'CANCELED' THEN 'KILLED'
       ELSE 'SCHEDULED' END, false, flat(t.hyperparameters), jsonb_build_object('trainmaster.state', t.state,
       'trainmaster.origin', t.origin, 'trainmaster.seed', t.seed::text, 'mlflow.source.type', 'JOB'), '[]', '[]', '[]',
       COALESCE(t.started_at, t.requested_at), t.ended_at, t.seq, true
FROM trials t JOIN experiments e ON e.id = t.experiment_id
"""
_EXPERIMENT = f"SELECT * FROM ({_EXPERIMENTS}) r WHERE id = $1"
_EXPERIMENT_BY_NAME = (
    f"SELECT * FROM ({_EXPERIMENTS}) r WHERE name = $1 AND (own OR workspace = $2) ORDER BY deleted LIMIT 1"
)
_EXPERIMENTS_OF = f"SELECT id, workspace FROM ({_EXPERIMENTS}) r WHERE id = ANY($1::text[])"
_RUN = f"SELECT * FROM ({_RUNS}) r WHERE id = $1"
_METRICS = """
SELECT r.id, m.name, m.step, m.time_us, m.value FROM unnest($1::text[]) AS r (id) CROSS JOIN newest_metrics(r.id) m
ORDER BY r.id, m.name
"""
_TIME = "(extract(epoch FROM {}) * 1000)::bigint"

RUNS = Space(
    texts={
        "run_id": "r.id", "run_name": "r.name", "run name": "r.name", "status": "r.status", "user_id": "r.owner",
        "experiment_id": "r.experiment_id",
    },
    numbers={
        "start_time": _TIME.format("r.started_at"), "created": _TIME.format("r.started_at"),
        "end_time": _TIME.format("r.ended_at"),
    },
    maps={Kind.PARAM: "r.params", Kind.TAG: "r.tags"},
    metric="NULLIF((SELECT m.value FROM newest_metrics(r.id) m WHERE m.name = {key}), 'NaN')",
    has_datasets=True,
)  # fmt: skip
EXPERIMENTS = Space(
    texts={"name": "r.name", "experiment_id": "r.id"},
    numbers={"creation_time": _TIME.format("r.created_at"), "last_update_time": _TIME.format("r.updated_at")},
    maps={Kind.TAG: "r.tags"},
)

_MODEL = "SELECT r.*, false AS own FROM logged_models r WHERE r.id = $1"


async def experiment(database: Database, experiment_id: str, needed: Role = Role.VIEWER) -> asyncpg.Record:
    """Return the row of an experiment. Raises Rejected: 404 to who may not look there, 403 to who may not change it."""
    row = await database.fetchrow(_EXPERIMENT, experiment_id.replace("\0", ""))
    if row is None or not principal.get().may(Role.VIEWER, row["workspace"]):
        raise not_found("experiment", repr(experiment_id[:100]))
    require(needed, row["workspace"])
    return row


async def experiment_by_name(database: Database, name: str, workspace: str) -> asyncpg.Record | None:
    """Return the row of the experiment with a name: one of this workspace, or one of the platform's own."""
    return await database.fetchrow(_EXPERIMENT_BY_NAME, name.replace("\0", ""), workspace)


async def experiments(  # one for each clause
    database: Database,
    conditions: Iterable[Condition],
    orders: Sequence[Order],
    view: str,
    page: slice,
    *,
    workspace: str | None = None,
) -> list[asyncpg.Record]:
    """Return the rows of the experiments wanted, of those that who asks may look at, or of one workspace of these."""
    bound = Parameters()
    mine = principal.get().workspaces(Role.VIEWER)
    wanted = where(EXPERIMENTS, conditions, bound)
    if mine is not None:
        wanted += f" AND r.workspace = ANY({bound.add([*mine], 'text[]')})"
    if workspace is not None:
        wanted += f" AND r.workspace = {bound.add(workspace, 'text')}"
    by = order_by(EXPERIMENTS, orders, bound, "r.updated_at DESC, r.id")
    return await page_of(database, _EXPERIMENTS, wanted + _lifecycle(view), by, bound, page)


async def run(database: Database, run_id: str, needed: Role = Role.VIEWER) -> asyncpg.Record:
    """Return the row of a run. Raises Rejected, like `experiment`."""
    row = await database.fetchrow(_RUN, run_id.replace("\0", ""))
    if row is None:
        raise not_found("run", repr(run_id[:100]))
    await experiment(database, row["experiment_id"], needed)
    return row


async def model(database: Database, model_id: str, needed: Role = Role.VIEWER) -> asyncpg.Record:
    """Return the row of a logged model. Raises Rejected, like `experiment`."""
    row = await database.fetchrow(_MODEL, model_id.replace("\0", ""))
    if row is None:
        raise not_found("model", repr(model_id[:100]))
    await experiment(database, row["experiment_id"], needed)
    return row


async def runs(
    database: Database,
    experiment_ids: Sequence[str],
    conditions: Iterable[Condition],
    orders: Sequence[Order],
    view: str,
    page: slice,
) -> list[asyncpg.Record]:
    """Return the rows of the runs wanted, of those that who asks may look at."""
    bound = Parameters()
    found = await database.fetch(_EXPERIMENTS_OF, [name.replace("\0", "") for name in experiment_ids])
    asking = principal.get()
    mine = [row["id"] for row in found if asking.may(Role.VIEWER, row["workspace"])]
    wanted = f"r.experiment_id = ANY({bound.add(mine, 'text[]')}) AND {where(RUNS, conditions, bound)}"
    by = order_by(RUNS, orders, bound, "r.started_at DESC, r.id")
    return await page_of(database, _RUNS, wanted + _lifecycle(view), by, bound, page)


async def shown(database: Database, rows: Sequence[asyncpg.Record]) -> list[wire.Run]:
    """Return runs as MLflow's clients read them, with the newest values of their metrics."""
    metrics: dict[str, list[wire.Metric]] = {row["id"]: [] for row in rows}
    for found in await database.fetch(_METRICS, [row["id"] for row in rows]):
        time_us = found["time_us"] or 0  # of a long series of a trial it lies in the series only
        value = wire.number(found["value"])
        metrics[found["id"]].append(
            wire.Metric(key=found["name"], value=value, timestamp=time_us // 1000, step=found["step"])
        )
    return [_run(row, metrics[row["id"]]) for row in rows]


def run_as_begun(event: RunCreated) -> wire.Run:
    """Return a run as it is in its first moment, for when the read model is behind."""
    row = {
        "id": event.run_id,
        "experiment_id": event.experiment_id,
        "name": event.name,
        "owner": principal.get().user_id,
        "status": RunStatus.RUNNING,
        "deleted": False,
        "tags": msgspec.json.encode(event.tags).decode(),
        "started_at": event.started_at,
        "ended_at": None,
    }
    return _run(row | dict.fromkeys(("datasets", "used", "made"), "[]") | {"params": "{}"}, [])


def run_info(row: Row) -> wire.RunInfo:
    """Return what a run is."""
    return wire.RunInfo(
        run_id=row["id"],
        run_uuid=row["id"],
        run_name=row["name"],
        experiment_id=row["experiment_id"],
        user_id=row["owner"],
        status=row["status"],
        start_time=wire.milliseconds(row["started_at"]),
        end_time=None if row["ended_at"] is None else wire.milliseconds(row["ended_at"]),
        artifact_uri=artifact_uri(row["experiment_id"], row["id"]),
        lifecycle_stage=_stage(row),
    )


def experiment_view(row: asyncpg.Record) -> wire.Experiment:
    """Return an experiment as MLflow's clients read it."""
    return wire.Experiment(
        experiment_id=row["id"],
        name=row["name"],
        artifact_location=f"mlflow-artifacts:/{row['id']}",
        lifecycle_stage=_stage(row),
        creation_time=wire.milliseconds(row["created_at"]),
        last_update_time=wire.milliseconds(row["updated_at"]),
        tags=wire.pairs(texts(row["tags"])),
        workspace=row["workspace"],
    )


def artifact_uri(experiment_id: str, owner: str) -> str:
    """Return where a run's artifacts are, for a client that asks the gateway for them."""
    return f"mlflow-artifacts:/{experiment_id}/{owner}/artifacts"


def texts(json: str) -> dict[str, str]:
    """Return a column of texts by name."""
    return msgspec.json.decode(json, type=dict[str, str])


def check_active(row: asyncpg.Record, what: str) -> None:
    """Raise Rejected unless a client may change what the row is about."""
    if row["own"]:
        raise Rejected(f"{what} {row['id']} is Trainmaster's own: MLflow's clients may only read it", status=400)
    if row["deleted"]:
        raise Rejected(f"{what} {row['id']} is deleted; restore it first", status=400)


async def page_of(  # one for each clause
    database: Database, source: str, wanted: str, by: str, bound: Parameters, page: slice
) -> list[asyncpg.Record]:
    """Return the rows of a page and one more, if there is one. Raises Rejected when a value cannot be compared."""
    limit, offset = bound.add(page.stop - page.start + 1, "bigint"), bound.add(page.start, "bigint")
    sql = f"SELECT * FROM ({source}) r WHERE {wanted} ORDER BY {by} LIMIT {limit} OFFSET {offset}"  # parameters
    try:
        return await database.fetch(sql, *bound.values)
    except postgres.BAD_VALUE as error:
        raise Rejected(f"this cannot be searched for: {error}", status=400) from error


def _lifecycle(view: str) -> str:
    return {"ACTIVE_ONLY": " AND NOT r.deleted", "DELETED_ONLY": " AND r.deleted"}.get(view, "")


def _stage(row: Row) -> str:
    return "deleted" if row["deleted"] else "active"


def _run(row: Row, metrics: list[wire.Metric]) -> wire.Run:
    tags = {"mlflow.user": row["owner"]} | texts(row["tags"]) | {"mlflow.runName": row["name"]}
    data = wire.RunData(metrics=metrics, params=wire.pairs(texts(row["params"])), tags=wire.pairs(tags))
    inputs = wire.RunInputs(
        dataset_inputs=[_dataset(found) for found in msgspec.json.decode(row["datasets"])],
        model_inputs=_models(row["used"]),
    )
    outputs = wire.RunOutputs(model_outputs=_models(row["made"]))
    return wire.Run(info=run_info(row), data=data, inputs=inputs, outputs=outputs)


def _models(json: str) -> list[wire.RunModel]:
    return msgspec.json.decode(json, type=list[wire.RunModel])


def _dataset(found: dict[str, Any]) -> wire.DatasetInput:  # a column of ours: shared.events.RunDataset
    tags = found.pop("tags", {})
    return wire.DatasetInput(dataset=msgspec.convert(found, wire.Dataset), tags=wire.pairs(tags))
