"""Experiments made of others."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import forking, intents, queries
from services.gateway.access import permit
from services.gateway.api import PREFIX, Body, Call, NoQuery, post, read_body
from services.gateway.submission import admitted, answer
from services.gateway.views.experiments import Experiment
from services.gateway.views.trials import Trial
from shared.errors import Problem, Rejected
from shared.events import Role
from shared.ids import ExperimentId

Id = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
Path = Annotated[str, Meta(min_length=1, max_length=200)]
Json = Annotated[object, Meta(extra_json_schema={"description": "any JSON value"})]
Changes = Annotated[dict[Path, Json], Meta(max_length=forking.MAX_CHANGES)]


class WantedFork(Body, frozen=True, kw_only=True):
    """What is different: `set` maps paths of the experiment file to values; all trials start from `checkpoint`.
    `trial` makes it that trial alone, trained on from its newest checkpoint unless another is given."""

    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    checkpoint: Id | None = None
    trial: Id | None = None
    set: Changes = msgspec.field(default_factory=dict)


async def fork(call: Call[NoQuery]) -> web.StreamResponse:
    """Submit the file and the code of an experiment again, with changes."""
    asked, parts = await read_body(call.request, WantedFork), call.parts
    origin = await intents.submission(parts.client, ExperimentId(call.id("experiment")))
    config = origin.config
    if asked.trial is not None:
        config = forking.continued(config, await _trial(call, asked.trial))
    shown = await queries.experiment(parts.database, origin.experiment_id)
    place = {"workspace": shown.workspace, "project": shown.project}
    name = {"name": asked.name or f"{shown.name} (fork of {origin.experiment_id})"[:256]}
    config = forking.forked(config | place | name, asked.checkpoint, asked.set)
    config = await admitted(parts, await intents.read_config(msgspec.json.encode(config).decode()))
    seq, event = await intents.fork(parts.client, config, origin)
    return await answer(parts, event, seq)


async def _trial(call: Call[NoQuery], trial_id: str) -> Trial:
    await permit.require_for(call.parts, Role.VIEWER, "trials", trial_id)
    trial = await queries.trial(call.parts.database, trial_id)
    if trial.experiment_id != call.id("experiment"):
        raise Rejected("the fork cannot be made", (Problem("trial", "is a trial of another experiment"),))
    return trial


ROUTES = (
    post(
        f"{PREFIX}/experiments/{{id}}/fork",
        fork,
        Experiment,
        "Submit an experiment's file and code again with changes, perhaps from a checkpoint",
        status=HTTPStatus.CREATED,
        body=WantedFork,
        problems=(400, 404, 409, 422),
        query=NoQuery,
    ),
)
