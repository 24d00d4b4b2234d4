"""Experiments for runs: made, renamed, tagged, put aside and found."""

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta, field

from services.gateway import filing, places
from services.gateway.access.access import principal
from services.gateway.access.permit import require
from services.gateway.mlflow import intents, reading, wire
from services.gateway.mlflow.grammar import parse_filter, parse_order
from services.gateway.mlflow.intents import TRACKING
from services.gateway.mlflow.operations import AlreadyExists, Asked, Operation, operation
from services.gateway.mlflow.paging import start_of, token_of
from services.gateway.mlflow.wire import Empty, Said
from services.gateway.problems import not_found
from shared import ids, subjects
from shared.errors import Problem, Rejected, Unavailable
from shared.events import (
    Event,
    Role,
    TrackedExperimentChanged,
    TrackedExperimentCreated,
    TrackedExperimentDeleted,
    TrackedExperimentRestored,
)
from shared.ids import ExperimentId

MAX_PAGE = 50_000
DEFAULT_PAGE = 1_000
WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"  # what a client with MLFLOW_WORKSPACE set says with everything
MAX_WORKSPACE_CHARS = 256  # as everywhere
DEFAULT_WORKSPACE = "default"  # MLflow's name of the one without a name

#: Names must differ, so whoever makes or renames one expects that nobody else has.
NAMES = subjects.event_filter(subjects.GATEWAY, TrackedExperimentCreated.aggregate)

View = Annotated[str, Meta(pattern="^(ACTIVE_ONLY|DELETED_ONLY|ALL)$")]
Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE)]
Orders = Annotated[list[str], Meta(max_length=20)]


class CreateExperiment(Said, frozen=True, kw_only=True):
    """An experiment to be made. Where artifacts lie is the platform's to say."""

    name: wire.Name
    artifact_location: str = ""
    tags: list[wire.Pair] = field(default_factory=list)


class ExperimentById(Said, frozen=True, kw_only=True):
    """Which experiment."""

    experiment_id: str


class ExperimentByName(Said, frozen=True, kw_only=True):
    """Which experiment."""

    experiment_name: str


class UpdateExperiment(ExperimentById, frozen=True, kw_only=True):
    """Its new name."""

    new_name: wire.Name


class ExperimentTag(ExperimentById, frozen=True, kw_only=True):
    """A tag of it."""

    key: wire.Key
    value: wire.Text = ""


class SearchExperiments(Said, frozen=True, kw_only=True):
    """Which experiments."""

    max_results: Limit = DEFAULT_PAGE
    page_token: str = ""
    filter: str = ""
    order_by: Orders = field(default_factory=list)
    view_type: View = "ACTIVE_ONLY"


class CreatedExperiment(Said, frozen=True, kw_only=True):
    """The id of a new experiment."""

    experiment_id: str


class ExperimentFound(Said, frozen=True, kw_only=True):
    """An experiment."""

    experiment: wire.Experiment


class ExperimentsFound(Said, frozen=True, kw_only=True):
    """A page of experiments."""

    experiments: list[wire.Experiment]
    next_page_token: str = ""


async def create(asked: Asked[CreateExperiment]) -> CreatedExperiment:
    """Make an experiment."""
    said, parts, workspace = asked.said, asked.parts, _workspace(asked)
    if said.artifact_location:
        raise Rejected("artifact_location cannot be chosen: artifacts lie in the platform's object store", status=400)
    require(Role.EDITOR, workspace)
    filing.check_place(await places.archived(parts.database, workspace, ""))
    tags = {tag.key: tag.value for tag in said.tags}

    async def change() -> CreatedExperiment:
        before = await intents.newest_seq(parts.client, NAMES)
        await _check_free(asked, said.name, workspace, before)
        new = TrackedExperimentCreated(
            experiment_id=ids.new_experiment_id(), name=said.name, workspace=workspace, tags=tags
        )
        await intents.say(parts, new, expected=before, scope=NAMES)
        return CreatedExperiment(experiment_id=new.experiment_id)

    return await intents.settle(parts, asked.request.app[TRACKING], NAMES, change)


async def rename(asked: Asked[UpdateExperiment]) -> Empty:
    """Give an experiment another name."""
    said, parts = asked.said, asked.parts

    async def change() -> Empty:
        before = await intents.newest_seq(parts.client, NAMES)
        await _check_shown(asked, before)
        row = await reading.experiment(parts.database, said.experiment_id, Role.EDITOR)
        reading.check_active(row, "experiment")
        await _check_free(asked, said.new_name, row["workspace"], before)
        new = TrackedExperimentChanged(experiment_id=row["id"], name=said.new_name)
        await intents.say(parts, new, expected=before, scope=NAMES)
        return Empty()

    return await intents.settle(parts, asked.request.app[TRACKING], NAMES, change)


async def delete(asked: Asked[ExperimentById]) -> Empty:
    """Put an experiment aside with its runs."""
    return await _change(asked, lambda of: TrackedExperimentDeleted(experiment_id=of), deleted=False)


async def restore(asked: Asked[ExperimentById]) -> Empty:
    """Take an experiment back."""
    return await _change(asked, lambda of: TrackedExperimentRestored(experiment_id=of), deleted=True)


async def set_tag(asked: Asked[ExperimentTag]) -> Empty:
    """Set a tag of an experiment."""
    tags = {asked.said.key: asked.said.value}
    return await _change(asked, lambda of: TrackedExperimentChanged(experiment_id=of, tags=tags), deleted=False)


async def delete_tag(asked: Asked[ExperimentTag]) -> Empty:
    """Remove a tag of an experiment."""
    removed = (asked.said.key,)
    return await _change(
        asked, lambda of: TrackedExperimentChanged(experiment_id=of, removed_tags=removed), deleted=False
    )


async def show(asked: Asked[ExperimentById]) -> ExperimentFound:
    """Show an experiment."""
    row = await reading.experiment(asked.parts.database, asked.said.experiment_id)
    return ExperimentFound(experiment=reading.experiment_view(row))


async def show_by_name(asked: Asked[ExperimentByName]) -> ExperimentFound:
    """Show the experiment of a name."""
    name = asked.said.experiment_name
    row = await reading.experiment_by_name(asked.parts.database, name, _workspace(asked))
    if row is None or not principal.get().may(Role.VIEWER, row["workspace"]):
        raise not_found("experiment", repr(name[:100]))
    row = await reading.experiment(asked.parts.database, row["id"])
    return ExperimentFound(experiment=reading.experiment_view(row))


async def search(asked: Asked[SearchExperiments]) -> ExperimentsFound:
    """Find experiments."""
    said = asked.said
    start = start_of(said.page_token)
    page = slice(start, start + said.max_results)
    orders = [parse_order(order) for order in said.order_by]
    rows = await reading.experiments(
        asked.parts.database,
        parse_filter(said.filter),
        orders,
        said.view_type,
        page,
        workspace=_workspace(asked) if WORKSPACE_HEADER in asked.request.headers else None,
    )
    token = token_of(page.stop) if len(rows) > said.max_results else ""
    found = [reading.experiment_view(row) for row in rows[: said.max_results]]
    return ExperimentsFound(experiments=found, next_page_token=token)


async def _change(
    asked: Asked[ExperimentById] | Asked[ExperimentTag], event: Callable[[ExperimentId], Event], *, deleted: bool
) -> Empty:
    parts, experiment_id = asked.parts, asked.said.experiment_id
    scope = subjects.aggregate_subject(subjects.GATEWAY, TrackedExperimentCreated.aggregate, experiment_id)

    async def change() -> Empty:
        row = await reading.experiment(parts.database, experiment_id, Role.EDITOR)
        if deleted and row["deleted"]:
            await intents.say(parts, event(row["id"]), expected=row["seq"])
        elif not deleted:
            reading.check_active(row, "experiment")
            await intents.say(parts, event(row["id"]), expected=row["seq"])
        return Empty()

    return await intents.settle(parts, asked.request.app[TRACKING], scope, change)


async def _check_shown(asked: Asked[CreateExperiment] | Asked[UpdateExperiment], seq: int) -> None:
    """Raise Unavailable when the names up to the event `seq` are not known in time: one might be taken by then."""
    if not await asked.parts.position.wait(seq):
        raise Unavailable(f"the read model does not show event {seq} yet")


async def _check_free(
    asked: Asked[CreateExperiment] | Asked[UpdateExperiment], name: str, workspace: str, seq: int
) -> None:
    """Raise AlreadyExists when an experiment has this name after the event `seq`."""
    await _check_shown(asked, seq)
    row = await reading.experiment_by_name(asked.parts.database, name, workspace)
    if row is not None:
        aside = "; it is deleted: restore it, or choose another name" if row["deleted"] else ""
        raise AlreadyExists(f"there is an experiment {name[:100]!r} already{aside}")


def _workspace(asked: Asked[CreateExperiment] | Asked[ExperimentByName] | Asked[SearchExperiments]) -> str:
    named = asked.request.headers.get(WORKSPACE_HEADER, "")
    if len(named) > MAX_WORKSPACE_CHARS or not named.isprintable():  # bytes that are no UTF-8 are not printable either
        mistake = f"is no name of a workspace: up to {MAX_WORKSPACE_CHARS} printable characters"
        raise Rejected("the request has a mistake", (Problem(WORKSPACE_HEADER, mistake),), status=400)
    return "" if named == DEFAULT_WORKSPACE else named


OPERATIONS: tuple[Operation, ...] = (
    operation("POST", "experiments/create", CreateExperiment, create),
    operation("POST", "experiments/update", UpdateExperiment, rename),
    operation("POST", "experiments/delete", ExperimentById, delete),
    operation("POST", "experiments/restore", ExperimentById, restore),
    operation("POST", "experiments/set-experiment-tag", ExperimentTag, set_tag),
    operation("POST", "experiments/delete-experiment-tag", ExperimentTag, delete_tag),
    operation("GET", "experiments/get", ExperimentById, show, looks=True),
    operation("GET", "experiments/get-by-name", ExperimentByName, show_by_name, looks=True),
    operation("POST", "experiments/search", SearchExperiments, search, looks=True),
    operation("GET", "experiments/search", SearchExperiments, search, looks=True),
)
