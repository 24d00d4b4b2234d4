"""What a team does with its experiments day by day: describe, move, archive, delete; one or many at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import filing, intents, places, queries
from services.gateway.access import permit
from services.gateway.api import PREFIX, Body, Call, NoQuery, Parts, Route, json_response, post, read_body
from services.gateway.decide import Intent
from services.gateway.filing import MAX_LABELS, Filing, FilingEvent
from services.gateway.problems import Stale
from services.gateway.views.experiments import Experiment, ExperimentDetail, Outcome, OutcomeList
from shared.errors import Conflict, Problem, Rejected
from shared.events import ExperimentDeletionRequested, ExperimentMoved, Role
from shared.ids import ExperimentId

MAX_IDS = 500
AT_ONCE = 8
TRIES = 5

Text = Annotated[str, Meta(max_length=65_536, pattern=r"^[^\x00]*$")]
Place = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$")]
Label = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
Labels = Annotated[list[Label], Meta(max_length=MAX_LABELS)]
Id = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]


class Description(Body, frozen=True, kw_only=True):
    """What is said of an experiment; what is left out stays as it is."""

    name: Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]+$")] | None = None
    description: Text | None = None
    labels: Labels | None = None
    notes: Text | None = None


class Destination(Body, frozen=True, kw_only=True):
    """Where an experiment goes; without a workspace it stays in its own."""

    workspace: Place | None = None
    project: Place = ""


class Many(Body, frozen=True, kw_only=True):
    """What is asked of many experiments: archive, unarchive, delete, pause, resume, cancel, move (to `workspace`,
    `project`) or label (with `add`, without `remove`)."""

    action: Annotated[str, Meta(pattern="^(archive|unarchive|delete|pause|resume|cancel|move|label)$")]
    ids: Annotated[list[Id], Meta(min_length=1, max_length=MAX_IDS)]
    workspace: Place | None = None
    project: Place = ""
    add: Labels = msgspec.field(default_factory=list)
    remove: Labels = msgspec.field(default_factory=list)


async def describe(call: Call[NoQuery]) -> web.StreamResponse:
    """Change an experiment's name, description, labels or notes."""
    asked = await read_body(call.request, Description)
    event = filing.described(
        ExperimentId(call.id("experiment")),
        name=asked.name,
        description=asked.description,
        labels=asked.labels,
        notes=asked.notes,
    )
    return await _changed(call, event)


async def move(call: Call[NoQuery]) -> web.StreamResponse:
    """Put an experiment into another project."""
    asked = await read_body(call.request, Destination)
    event = await _moved(call.parts, call.id("experiment"), asked.workspace, asked.project)
    return await _changed(call, event)


def _file(wish: Filing) -> Callable[[Call[NoQuery]], Awaitable[web.StreamResponse]]:
    async def file(call: Call[NoQuery]) -> web.StreamResponse:
        event = filing.filing_event(wish, ExperimentId(call.id("experiment")))
        return await _changed(call, event, HTTPStatus.ACCEPTED if wish is Filing.DELETE else HTTPStatus.OK)

    return file


async def change_many(call: Call[NoQuery]) -> web.StreamResponse:
    """Ask the same of many experiments, each by itself; say what became of each."""
    asked, turn, newest = await read_body(call.request, Many), asyncio.Semaphore(AT_ONCE), [0]

    async def one(experiment_id: str) -> Outcome:
        async with turn:
            try:
                await permit.require_for(call.parts, Role.EDITOR, "experiments", experiment_id)
                newest.append(await _ask(call.parts, asked, ExperimentId(experiment_id)))
            except Rejected as error:
                return Outcome(id=experiment_id, status=error.status, detail=str(error))
            except Conflict:
                return Outcome(id=experiment_id, status=HTTPStatus.CONFLICT, detail="somebody else changed it just now")
        return Outcome(id=experiment_id, status=HTTPStatus.OK)

    items = await asyncio.gather(*(one(experiment_id) for experiment_id in dict.fromkeys(asked.ids)))
    await call.parts.position.wait(max(newest))
    num_failed = sum(item.status != HTTPStatus.OK for item in items)
    return json_response(OutcomeList(items=items, num_failed=num_failed), seq=max(newest))


async def _ask(parts: Parts, asked: Many, experiment_id: ExperimentId) -> int:
    match asked.action:
        case "pause" | "resume" | "cancel":
            return await intents.ask(parts.client, experiment_id, Intent(asked.action))
        case "move":
            return await _append(parts, await _moved(parts, experiment_id, asked.workspace, asked.project))
        case "label":
            return await _label(parts, asked, experiment_id)
        case _:
            return await _append(parts, filing.filing_event(Filing(asked.action), experiment_id))


async def _label(parts: Parts, asked: Many, experiment_id: ExperimentId) -> int:
    """Add and remove labels, of those that the experiment has by then. Raises Conflict when others keep changing it."""
    for _ in range(TRIES):
        shown = await queries.experiment(parts.database, experiment_id)
        labels = [label for label in [*shown.labels, *asked.add] if label not in asked.remove]
        event = filing.described(experiment_id, name=None, description=None, labels=labels, notes=None)
        try:
            return await _append(parts, event, shown.seq)
        except Stale as error:  # what is decided anew must rest on what was said meanwhile
            await parts.position.wait(error.seq)
    raise Conflict(f"others keep changing experiment {experiment_id}")


async def _moved(parts: Parts, experiment_id: str, workspace: str | None, project: str) -> ExperimentMoved:
    """Return the event of a move. Raises Rejected when nothing may be put there, or not by who asks."""
    if workspace is None:
        workspace = (await queries.experiment(parts.database, experiment_id)).workspace
    permit.require(Role.EDITOR, workspace)
    filing.check_place(await places.archived(parts.database, workspace, project))
    return ExperimentMoved(experiment_id=ExperimentId(experiment_id), workspace=workspace, project=project)


async def _changed(call: Call[NoQuery], event: FilingEvent, status: int = HTTPStatus.OK) -> web.Response:
    known = await call.check_unchanged(partial(queries.experiment, call.parts.database, event.experiment_id))
    seq = await _append(call.parts, event, known)
    await call.parts.position.wait(seq)
    shown = await queries.experiment(call.parts.database, event.experiment_id)
    return json_response(shown, seq=seq, status=status)


async def _append(parts: Parts, event: FilingEvent, known: int | None = None) -> int:
    shown = await queries.experiment(parts.database, event.experiment_id)
    if isinstance(event, ExperimentDeletionRequested):
        needed_by = await queries.starts_from_any(parts.database, event.experiment_id)
        if needed_by is not None:
            mistake = Problem("", f"experiment {needed_by} starts its trials from its checkpoints and is not over")
            raise Rejected("the experiment cannot be deleted now", (mistake,), status=HTTPStatus.CONFLICT)
    return await intents.file(parts.client, event, shown.workspace, known_seq=known)


def _filing(wish: Filing, summary: str, status: int = HTTPStatus.OK) -> Route:
    path = f"{PREFIX}/experiments/{{id}}/{wish}"
    return post(path, _file(wish), Experiment, summary, query=NoQuery, status=status, problems=(404, 409, 412))


ROUTES = (
    post(
        f"{PREFIX}/experiments/bulk",
        change_many,
        OutcomeList,
        "Ask the same of many experiments; what becomes of each is in the answer",
        body=Many,
        problems=(400, 422),
        query=NoQuery,
    ),
    post(
        f"{PREFIX}/experiments/{{id}}",
        describe,
        ExperimentDetail,
        "Change an experiment's name, description, labels or notes",
        body=Description,
        problems=(400, 404, 409, 412, 422),
        query=NoQuery,
        method="PATCH",
    ),
    post(
        f"{PREFIX}/experiments/{{id}}/move",
        move,
        ExperimentDetail,
        "Put an experiment into another project",
        body=Destination,
        problems=(400, 404, 409, 412, 422),
        query=NoQuery,
    ),
    _filing(Filing.ARCHIVE, "Put an experiment that is over out of the lists"),
    _filing(Filing.UNARCHIVE, "Put an archived experiment back into the lists"),
    _filing(Filing.DELETE, "Delete an experiment that is over, with its checkpoints", HTTPStatus.ACCEPTED),
)
