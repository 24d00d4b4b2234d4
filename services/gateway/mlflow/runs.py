"""Runs: begun, annotated, ended, put aside and found."""

import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import asyncpg
import msgspec
from msgspec import Meta, field

from services.gateway.mlflow import intents, reading, wire
from services.gateway.mlflow.experiments import DEFAULT_PAGE, Limit, Orders, View
from services.gateway.mlflow.grammar import parse_filter, parse_order
from services.gateway.mlflow.intents import TRACKING
from services.gateway.mlflow.operations import Asked, Operation, operation
from services.gateway.mlflow.paging import start_of, token_of
from services.gateway.mlflow.wire import Empty, Said
from shared import ids, subjects
from shared.errors import Problem, Rejected
from shared.events import (
    Role,
    RunAnnotated,
    RunChanged,
    RunCreated,
    RunDataset,
    RunDeleted,
    RunEvent,
    RunLinked,
    RunModel,
    RunRestored,
    RunStatus,
)
from shared.ids import ExperimentId, ModelId, RunId

MAX_EXPERIMENTS = 1_000
LEGACY_MODELS_TAG = "mlflow.log-model.history"

Param = Annotated[str, Meta(max_length=wire.MAX_PARAM)]


class CreateRun(Said, frozen=True, kw_only=True):
    """A run to begin. Who it is of is who asks, whatever the client's machine calls them."""

    experiment_id: str = "0"
    run_name: Annotated[str, Meta(max_length=500)] = ""
    start_time: wire.Milliseconds | None = None
    tags: Annotated[list[wire.Pair], Meta(max_length=1000)] = field(default_factory=list)


class RunById(Said, frozen=True, kw_only=True):
    """Which run."""

    run_id: str


class UpdateRun(RunById, frozen=True, kw_only=True):
    """What is new of it."""

    status: RunStatus | None = None
    end_time: wire.Milliseconds | None = None
    run_name: Annotated[str, Meta(max_length=500)] = ""


class LogParam(RunById, frozen=True, kw_only=True):
    """A parameter of it."""

    key: wire.Key
    value: Param = ""


class SetTag(RunById, frozen=True, kw_only=True):
    """A tag of it."""

    key: wire.Key
    value: wire.Text = ""


class LogInputs(RunById, frozen=True, kw_only=True):
    """What it read."""

    datasets: Annotated[list[wire.DatasetInput], Meta(max_length=100)] = field(default_factory=list)
    models: Annotated[list[wire.RunModel], Meta(max_length=100)] = field(default_factory=list)


class LogOutputs(RunById, frozen=True, kw_only=True):
    """What it made."""

    models: Annotated[list[wire.RunModel], Meta(max_length=100)] = field(default_factory=list)


class LogModel(RunById, frozen=True, kw_only=True):
    """A model it logged, as MLflow 2 says it."""

    model_json: Annotated[str, Meta(max_length=100_000)]


class SearchRuns(Said, frozen=True, kw_only=True):
    """Which runs."""

    experiment_ids: Annotated[list[str], Meta(max_length=MAX_EXPERIMENTS)] = field(default_factory=list)
    filter: str = ""
    run_view_type: View = "ACTIVE_ONLY"
    max_results: Limit = DEFAULT_PAGE
    order_by: Orders = field(default_factory=list)
    page_token: str = ""


class RunFound(Said, frozen=True, kw_only=True):
    """A run."""

    run: wire.Run


class RunUpdated(Said, frozen=True, kw_only=True):
    """What a run is now."""

    run_info: wire.RunInfo


class RunsFound(Said, frozen=True, kw_only=True):
    """A page of runs."""

    runs: list[wire.Run]
    next_page_token: str = ""


AboutT = TypeVar("AboutT", bound=RunById)


async def create(asked: Asked[CreateRun]) -> RunFound:
    """Begin a run."""
    said, parts = asked.said, asked.parts
    experiment = await reading.experiment(parts.database, said.experiment_id, Role.EDITOR)
    reading.check_active(experiment, "experiment")
    tags = {tag.key: tag.value for tag in said.tags}
    event = RunCreated(
        run_id=ids.new_run_id(),
        experiment_id=ExperimentId(experiment["id"]),
        name=said.run_name or tags.get("mlflow.runName") or f"run-{secrets.token_hex(3)}",
        started_at=datetime.now(UTC) if said.start_time is None else wire.instant(said.start_time),
        tags=tags,
    )
    if not await intents.say(parts, event, expected=0):
        return RunFound(run=reading.run_as_begun(event))
    return await show_run(asked, event.run_id)


async def update(asked: Asked[UpdateRun]) -> RunUpdated:
    """Change a run's name or status, or end it."""
    said = asked.said
    ended_at = None if said.end_time is None else wire.instant(said.end_time)

    def change(row: asyncpg.Record) -> RunChanged:
        return RunChanged(**_of(row), name=said.run_name or None, status=said.status, ended_at=ended_at)

    await change_run(asked, change)
    return RunUpdated(run_info=reading.run_info(await reading.run(asked.parts.database, said.run_id)))


async def log_param(asked: Asked[LogParam]) -> Empty:
    """Log a parameter."""
    return await annotate(asked, params={asked.said.key: asked.said.value})


async def set_tag(asked: Asked[SetTag]) -> Empty:
    """Set a tag."""
    return await annotate(asked, tags={asked.said.key: asked.said.value})


async def delete_tag(asked: Asked[SetTag]) -> Empty:
    """Remove a tag."""
    key = asked.said.key

    def change(row: asyncpg.Record) -> RunAnnotated:
        if key not in reading.texts(row["tags"]):
            raise Rejected(f"run {row['id']} has no tag {key[:100]!r}", status=404)
        return RunAnnotated(**_of(row), removed_tags=(key,))

    return await change_run(asked, change)


async def annotate(
    asked: Asked[AboutT], *, params: dict[str, str] | None = None, tags: dict[str, str] | None = None
) -> Empty:
    """Log parameters and set tags. Raises Rejected when a parameter was logged with another value before."""

    def change(row: asyncpg.Record) -> RunAnnotated | None:
        new_params = _new_params(row, params or {})
        new_tags = dict((tags or {}).items() - reading.texts(row["tags"]).items())
        return RunAnnotated(**_of(row), params=new_params, tags=new_tags) if new_params or new_tags else None

    return await change_run(asked, change)


async def log_inputs(asked: Asked[LogInputs]) -> Empty:
    """Note what a run read."""
    datasets = tuple(
        RunDataset(**msgspec.to_builtins(said.dataset), tags={tag.key: tag.value for tag in said.tags})
        for said in asked.said.datasets
    )

    def change(row: asyncpg.Record) -> RunLinked | None:
        known = {(found["name"], found["digest"]) for found in msgspec.json.decode(row["datasets"])}
        new = tuple(dataset for dataset in datasets if (dataset.name, dataset.digest) not in known)
        used = _new_models(row["used"], asked.said.models)
        return RunLinked(**_of(row), datasets=new, used=used) if new or used else None

    return await change_run(asked, change)


async def log_outputs(asked: Asked[LogOutputs]) -> Empty:
    """Note which models a run made."""

    def change(row: asyncpg.Record) -> RunLinked | None:
        made = _new_models(row["made"], asked.said.models)
        return RunLinked(**_of(row), made=made) if made else None

    return await change_run(asked, change)


async def log_model(asked: Asked[LogModel]) -> Empty:
    """Note a model that a run logged, as a tag: so MLflow 2 kept them."""
    try:
        model = msgspec.json.decode(asked.said.model_json, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        problem = Problem("model_json", f"is no JSON object: {error}")
        raise Rejected("the request has mistakes", (problem,), status=400) from error

    def change(row: asyncpg.Record) -> RunAnnotated:
        before = _models_before(reading.texts(row["tags"]).get(LEGACY_MODELS_TAG, "[]"))
        history = msgspec.json.encode([*before, model]).decode()
        return RunAnnotated(**_of(row), tags={LEGACY_MODELS_TAG: history})

    return await change_run(asked, change)


def _models_before(history: str) -> list[Any]:
    try:
        return msgspec.json.decode(history, type=list[Any])
    except (msgspec.MsgspecError, RecursionError) as error:  # a client may set the tag to anything
        reason = f"the run's tag {LEGACY_MODELS_TAG} is no list in JSON: delete it, or set it to []"
        raise Rejected(reason, status=400) from error


async def delete(asked: Asked[RunById]) -> Empty:
    """Put a run aside."""
    return await change_run(asked, lambda row: RunDeleted(**_of(row)))


async def restore(asked: Asked[RunById]) -> Empty:
    """Take a run back."""
    return await change_run(asked, lambda row: RunRestored(**_of(row)) if row["deleted"] else None, deleted=True)


async def show(asked: Asked[RunById]) -> RunFound:
    """Show a run."""
    return await show_run(asked, asked.said.run_id)


async def show_run(asked: Asked[Any], run_id: str) -> RunFound:
    """Return a run with all that was logged before this was asked."""
    row = await reading.run(asked.parts.database, run_id)
    await asked.parts.metrics.wait(asked.request.app[TRACKING].newest_metrics)
    return RunFound(run=(await reading.shown(asked.parts.database, [row]))[0])


async def search(asked: Asked[SearchRuns]) -> RunsFound:
    """Find runs."""
    said, database = asked.said, asked.parts.database
    start = start_of(said.page_token)
    page = slice(start, start + said.max_results)
    conditions, orders = parse_filter(said.filter), [parse_order(order) for order in said.order_by]
    await asked.parts.metrics.wait(asked.request.app[TRACKING].newest_metrics)
    rows = await reading.runs(database, said.experiment_ids, conditions, orders, said.run_view_type, page)
    token = token_of(page.stop) if len(rows) > said.max_results else ""
    return RunsFound(runs=await reading.shown(database, rows[: said.max_results]), next_page_token=token)


async def change_run(
    asked: Asked[AboutT], change: Callable[[asyncpg.Record], RunEvent | None], *, deleted: bool = False
) -> Empty:
    """Append what a run's row and a request make of each other, if anything. `deleted`: also of one put aside."""
    parts, run_id = asked.parts, asked.said.run_id
    scope = subjects.aggregate_subject(subjects.GATEWAY, RunEvent.aggregate, run_id)

    async def carry_out() -> Empty:
        row = await reading.run(parts.database, run_id, Role.EDITOR)
        if not deleted or row["own"]:
            reading.check_active(row, "run")
        event = change(row)
        if event is not None:
            await intents.say(parts, event, expected=row["seq"])
        return Empty()

    return await intents.settle(parts, asked.request.app[TRACKING], scope, carry_out)


def _of(row: asyncpg.Record) -> dict[str, Any]:
    return {"run_id": RunId(row["id"]), "experiment_id": ExperimentId(row["experiment_id"])}


def _new_params(row: asyncpg.Record, params: dict[str, str]) -> dict[str, str]:
    before = reading.texts(row["params"])
    problems = tuple(
        Problem(f"params.{key}", f"is {before[key][:100]!r} already and cannot become {value[:100]!r}")
        for key, value in params.items()
        if before.get(key, value) != value
    )
    if problems:
        raise Rejected(f"a parameter of a run never changes; run {row['id']}", problems, status=400)
    return {key: value for key, value in params.items() if key not in before}


def _new_models(before: str, said: Iterable[wire.RunModel]) -> tuple[RunModel, ...]:
    known = {(found["model_id"], found.get("step", 0)) for found in msgspec.json.decode(before)}
    models = (RunModel(model_id=ModelId(model.model_id), step=model.step) for model in said)
    return tuple(model for model in models if (model.model_id, model.step) not in known)


OPERATIONS: tuple[Operation, ...] = (
    operation("POST", "runs/create", CreateRun, create),
    operation("POST", "runs/update", UpdateRun, update),
    operation("POST", "runs/delete", RunById, delete),
    operation("POST", "runs/restore", RunById, restore),
    operation("POST", "runs/log-parameter", LogParam, log_param),
    operation("POST", "runs/set-tag", SetTag, set_tag),
    operation("POST", "runs/delete-tag", SetTag, delete_tag),
    operation("POST", "runs/log-inputs", LogInputs, log_inputs),
    operation("POST", "runs/outputs", LogOutputs, log_outputs),
    operation("POST", "runs/log-model", LogModel, log_model),
    operation("GET", "runs/get", RunById, show, looks=True),
    operation("POST", "runs/search", SearchRuns, search, looks=True),
)
