"""Trials: one configuration each."""

from functools import partial
from http import HTTPStatus

from aiohttp import web

from services.gateway import intents, queries
from services.gateway.api import PREFIX, Call, NoQuery, PastQuery, get, json_response, post
from services.gateway.lists import ListQuery
from services.gateway.views.checkpoints import CheckpointPage
from services.gateway.views.trials import Trial
from shared.errors import Rejected
from shared.ids import ExperimentId, TrialId


async def show_trial(call: Call[PastQuery]) -> Trial:
    """One trial."""
    async with call.reading() as database:
        return await queries.trial(database, call.id("trial"))


async def list_checkpoints(call: Call[ListQuery]) -> CheckpointPage:
    """The checkpoints of a trial."""
    trial_id = call.id("trial")
    async with call.reading() as database:
        await queries.trial_is_over(database, trial_id)
        return await queries.checkpoints(database, call.query, trial_id=trial_id)


async def cancel(call: Call[NoQuery]) -> web.StreamResponse:
    """End one trial; the search goes on without it."""
    trial_id, database = call.id("trial"), call.parts.database
    trial = await queries.trial(database, trial_id)
    await call.check_unchanged(partial(queries.trial, database, trial_id))
    if trial.ended_at is not None:
        raise Rejected(f"trial {trial_id} cannot be canceled: it is {trial.state}", status=HTTPStatus.CONFLICT)
    seq = await intents.cancel_trial(call.parts.client, TrialId(trial_id), ExperimentId(trial.experiment_id))
    await call.parts.position.wait(seq)
    return json_response(await queries.trial(database, trial_id), seq=seq)


ROUTES = (
    get(f"{PREFIX}/trials/{{id}}", show_trial, PastQuery, Trial, "Show a trial", is_cached=True),
    get(
        f"{PREFIX}/trials/{{id}}/checkpoints",
        list_checkpoints,
        ListQuery,
        CheckpointPage,
        "List a trial's checkpoints",
        is_cached=True,
    ),
    post(
        f"{PREFIX}/trials/{{id}}/cancel",
        cancel,
        Trial,
        "End one trial; the search goes on without it",
        query=NoQuery,
        status=HTTPStatus.OK,
        problems=(404, 409, 412),
    ),
)
