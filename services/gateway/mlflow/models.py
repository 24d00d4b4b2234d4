"""Logged models, as MLflow 3 has them: a model's files with its parameters and metrics, beside the run it is of."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import asyncpg
import msgspec
from msgspec import Meta, field

from services.gateway.filters import Parameters
from services.gateway.mlflow import intents, reading, wire
from services.gateway.mlflow.experiments import Limit
from services.gateway.mlflow.grammar import Kind, Order, Subject, parse_filter
from services.gateway.mlflow.intents import TRACKING
from services.gateway.mlflow.operations import Asked, Operation, operation
from services.gateway.mlflow.paging import start_of, token_of
from services.gateway.mlflow.search import Space, order_by, where
from services.gateway.mlflow.wire import Empty, Said
from services.gateway.past import Database
from services.gateway.problems import not_found
from shared import ids, subjects
from shared.errors import Rejected
from shared.events import ModelChanged, ModelDeleted, ModelEvent, ModelLogged, ModelStatus, Role
from shared.ids import ExperimentId, ModelId, RunId

_MODELS = "SELECT r.*, false AS own FROM logged_models r"
_METRICS = """
SELECT model_id, run_id, name, dataset_name, dataset_digest, step, time_us, value FROM model_metrics
WHERE model_id = ANY($1::text[]) ORDER BY name, run_id
"""
_TIME = "(extract(epoch FROM {}) * 1000)::bigint"
MODELS = Space(
    texts={
        "name": "r.name", "model_id": "r.id", "model_type": "r.model_type", "source_run_id": "r.run_id",
        "status": "replace(r.status, 'LOGGED_MODEL_', '')", "experiment_id": "r.experiment_id",
    },
    numbers={
        "creation_timestamp": _TIME.format("r.created_at"), "creation_time": _TIME.format("r.created_at"),
        "last_updated_timestamp": _TIME.format("r.updated_at"),
    },
    maps={Kind.PARAM: "r.params", Kind.TAG: "r.tags"},
    metric="NULLIF((SELECT max(m.value) FROM model_metrics m WHERE m.model_id = r.id AND m.name = {key}), 'NaN')",
)  # fmt: skip

Status = Annotated[str, Meta(pattern="^LOGGED_MODEL_(PENDING|READY|UPLOAD_FAILED)$")]
Pairs = Annotated[list[wire.Pair], Meta(max_length=1000)]


class CreateModel(Said, frozen=True, kw_only=True):
    """A model to be logged."""

    experiment_id: str
    name: Annotated[str, Meta(max_length=500)] = ""
    model_type: Annotated[str, Meta(max_length=500)] = ""
    source_run_id: wire.Id = ""
    params: Pairs = field(default_factory=list)
    tags: Pairs = field(default_factory=list)


class ModelById(Said, frozen=True, kw_only=True):
    """Which model."""

    model_id: str


class ShowModel(ModelById, frozen=True, kw_only=True):
    """Which model, perhaps a deleted one."""

    allow_deleted: bool = False


class FinalizeModel(ModelById, frozen=True, kw_only=True):
    """Whether its files are all there."""

    status: Status


class ModelPairs(ModelById, frozen=True, kw_only=True):
    """Parameters or tags of it."""

    params: Pairs = field(default_factory=list)
    tags: Pairs = field(default_factory=list)


class ModelTag(ModelById, frozen=True, kw_only=True):
    """A tag of it."""

    key: wire.Key


class ModelOrder(Said, frozen=True, kw_only=True):
    """What models are ordered by."""

    field_name: str
    ascending: bool = True


class SearchModels(Said, frozen=True, kw_only=True):
    """Which models."""

    experiment_ids: Annotated[list[str], Meta(max_length=1000)]
    filter: str = ""
    max_results: Limit = 100
    order_by: Annotated[list[ModelOrder], Meta(max_length=20)] = field(default_factory=list)
    page_token: str = ""


class ModelFound(Said, frozen=True, kw_only=True):
    """A logged model."""

    model: wire.Model


class ModelsFound(Said, frozen=True, kw_only=True):
    """A page of logged models."""

    models: list[wire.Model]
    next_page_token: str = ""


AboutT = TypeVar("AboutT", bound=ModelById)


async def create(asked: Asked[CreateModel]) -> ModelFound:
    """Begin to log a model."""
    said, parts = asked.said, asked.parts
    experiment = await reading.experiment(parts.database, said.experiment_id, Role.EDITOR)
    reading.check_active(experiment, "experiment")
    event = ModelLogged(
        model_id=ids.new_model_id(),
        experiment_id=ExperimentId(experiment["id"]),
        name=said.name or f"model-{secrets.token_hex(3)}",
        model_type=said.model_type,
        run_id=RunId(said.source_run_id) if said.source_run_id else None,
        params={param.key: param.value for param in said.params},
        tags={tag.key: tag.value for tag in said.tags},
    )
    if not await intents.say(parts, event, expected=0):
        return ModelFound(model=_as_begun(event))
    return await _show(asked, event.model_id)


async def finalize(asked: Asked[FinalizeModel]) -> ModelFound:
    """Say that a model's files are there, or never will be."""
    await _change(asked, lambda of: ModelChanged(**of, status=ModelStatus(asked.said.status)))
    return await _show(asked, asked.said.model_id)


async def set_tags(asked: Asked[ModelPairs]) -> ModelFound:
    """Set tags of a model."""
    await _change(asked, lambda of: ModelChanged(**of, tags={tag.key: tag.value for tag in asked.said.tags}))
    return await _show(asked, asked.said.model_id)


async def delete_tag(asked: Asked[ModelTag]) -> Empty:
    """Remove a tag of a model."""
    return await _change(asked, lambda of: ModelChanged(**of, removed_tags=(asked.said.key,)))


async def log_params(asked: Asked[ModelPairs]) -> Empty:
    """Log parameters of a model; one that it has stays."""
    params = {param.key: param.value for param in asked.said.params}
    return await _change(asked, lambda of: ModelChanged(**of, params=params))


async def delete(asked: Asked[ModelById]) -> Empty:
    """Delete a model; its files stay until somebody deletes them."""
    return await _change(asked, lambda of: ModelDeleted(**of))


async def show(asked: Asked[ShowModel]) -> ModelFound:
    """Show a model."""
    return await _show(asked, asked.said.model_id, also_deleted=asked.said.allow_deleted)


async def search(asked: Asked[SearchModels]) -> ModelsFound:
    """Find models."""
    said, database = asked.said, asked.parts.database
    mine = [(await reading.experiment(database, experiment_id))["id"] for experiment_id in said.experiment_ids]
    bound, start = Parameters(), start_of(said.page_token)
    wanted = f"r.experiment_id = ANY({bound.add(mine, 'text[]')}) AND NOT r.deleted"
    wanted += f" AND {where(MODELS, parse_filter(said.filter), bound)}"
    by = order_by(MODELS, [_order(order) for order in said.order_by], bound, "r.created_at DESC, r.id")
    await asked.parts.metrics.wait(asked.request.app[TRACKING].newest_metrics)
    rows = await reading.page_of(database, _MODELS, wanted, by, bound, slice(start, start + said.max_results))
    token = token_of(start + said.max_results) if len(rows) > said.max_results else ""
    return ModelsFound(models=await _views(database, rows[: said.max_results]), next_page_token=token)


def _order(said: ModelOrder) -> Order:
    kind, dot, key = said.field_name.partition(".")
    if not dot:
        kind, key = "", kind
    kinds = {"metrics": Kind.METRIC, "params": Kind.PARAM, "tags": Kind.TAG}
    return Order(Subject(kinds.get(kind, Kind.ATTRIBUTE), key), not said.ascending)


async def _show(asked: Asked[Any], model_id: str, *, also_deleted: bool = False) -> ModelFound:
    row = await _row(asked, model_id, Role.VIEWER)
    if row["deleted"] and not also_deleted:
        raise not_found("model", repr(model_id[:100]))
    await asked.parts.metrics.wait(asked.request.app[TRACKING].newest_metrics)
    return ModelFound(model=(await _views(asked.parts.database, [row]))[0])


async def _row(asked: Asked[Any], model_id: str, needed: Role) -> asyncpg.Record:
    return await reading.model(asked.parts.database, model_id, needed)


async def _change(asked: Asked[AboutT], event: Callable[[dict[str, Any]], ModelEvent]) -> Empty:
    parts, model_id = asked.parts, asked.said.model_id
    scope = subjects.aggregate_subject(subjects.GATEWAY, ModelEvent.aggregate, model_id)

    async def change() -> Empty:
        row = await _row(asked, model_id, Role.EDITOR)
        if row["deleted"]:
            raise Rejected(f"model {model_id[:100]!r} is deleted", status=404)
        of = {"model_id": ModelId(row["id"]), "experiment_id": ExperimentId(row["experiment_id"])}
        await intents.say(parts, event(of), expected=row["seq"])
        return Empty()

    return await intents.settle(parts, asked.request.app[TRACKING], scope, change)


async def _views(database: Database, rows: list[asyncpg.Record]) -> list[wire.Model]:
    metrics: dict[str, list[wire.Metric]] = {row["id"]: [] for row in rows}
    for found in await database.fetch(_METRICS, list(metrics)):
        metrics[found["model_id"]].append(
            wire.Metric(
                key=found["name"],
                value=wire.number(found["value"]),
                timestamp=found["time_us"] // 1000,
                step=found["step"],
                model_id=found["model_id"],
                dataset_name=found["dataset_name"],
                dataset_digest=found["dataset_digest"],
                run_id=found["run_id"],
            )
        )
    return [_view(row, metrics[row["id"]]) for row in rows]


def _as_begun(event: ModelLogged) -> wire.Model:
    """The model as it is in its first moment, for when the read model is behind."""
    now = datetime.now(UTC)
    row = {
        "id": event.model_id,
        "experiment_id": event.experiment_id,
        "run_id": event.run_id,
        "name": event.name,
        "model_type": event.model_type,
        "status": ModelStatus.PENDING,
        "params": msgspec.json.encode(event.params).decode(),
        "tags": msgspec.json.encode(event.tags).decode(),
        "created_at": now,
        "updated_at": now,
    }
    return _view(row, [])


def _view(row: reading.Row, metrics: list[wire.Metric]) -> wire.Model:
    info = wire.ModelInfo(
        model_id=row["id"],
        experiment_id=row["experiment_id"],
        name=row["name"],
        creation_timestamp_ms=wire.milliseconds(row["created_at"]),
        last_updated_timestamp_ms=wire.milliseconds(row["updated_at"]),
        artifact_uri=f"mlflow-artifacts:/{row['experiment_id']}/models/{row['id']}/artifacts",
        status=row["status"],
        model_type=row["model_type"],
        source_run_id=row["run_id"] or "",
        tags=wire.pairs(reading.texts(row["tags"])),
    )
    return wire.Model(info=info, data=wire.ModelData(params=wire.pairs(reading.texts(row["params"])), metrics=metrics))


OPERATIONS: tuple[Operation, ...] = (
    operation("POST", "logged-models", CreateModel, create),
    operation("POST", "logged-models/search", SearchModels, search, looks=True),
    operation("GET", "logged-models/{model_id}", ShowModel, show, looks=True),
    operation("PATCH", "logged-models/{model_id}", FinalizeModel, finalize),
    operation("DELETE", "logged-models/{model_id}", ModelById, delete),
    operation("PATCH", "logged-models/{model_id}/tags", ModelPairs, set_tags),
    operation("DELETE", "logged-models/{model_id}/tags/{key}", ModelTag, delete_tag),
    operation("POST", "logged-models/{model_id}/params", ModelPairs, log_params),
)
