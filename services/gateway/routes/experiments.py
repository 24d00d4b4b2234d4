"""Experiments: list, look, pause, resume, cancel."""

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import administration, admission, cluster, decide, intents, queries
from services.gateway.access import permit
from services.gateway.access.access import principal
from services.gateway.api import PREFIX, AnyQueryT, Call, NoQuery, PastQuery, Route, get, json_response, post
from services.gateway.decide import Intent
from services.gateway.lists import ExperimentsQuery, ListQuery
from services.gateway.past import ReadModel
from services.gateway.views.checkpoints import CheckpointPage
from services.gateway.views.experiments import Experiment, ExperimentDetail, ExperimentPage
from services.gateway.views.trials import TrialPage
from shared.events import JobEvent, JobMoved, Role
from shared.ids import ExperimentId


class JobQuery(NoQuery, frozen=True, kw_only=True):
    """What is changed; exactly one of these."""

    priority: Annotated[int, Meta(ge=1, le=99, description="lower goes first")] | None = None
    weight: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    max_slots: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    ahead_of: Annotated[str, Meta(pattern="^[a-z0-9-]{1,63}$", description="another experiment")] | None = None
    behind: Annotated[str, Meta(pattern="^[a-z0-9-]{1,63}$", description="another experiment")] | None = None
    pool: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$", description="another resource pool")] | None = None


class SearchQuery(NoQuery, frozen=True, kw_only=True):
    """A search's new limits."""

    max_trials: (
        Annotated[int, Meta(ge=1, le=100_000, description="in all, those requested already included")] | None
    ) = None
    max_concurrent_trials: Annotated[int, Meta(ge=1, le=100_000, description="that train at a time")] | None = None


async def list_experiments(call: Call[ExperimentsQuery]) -> ExperimentPage:
    """Experiments of the workspaces that are open to who asks, newest first."""
    mine = principal.get().workspaces(Role.VIEWER)
    async with call.reading() as database:
        return await queries.experiments(database, call.query, call.query.show, mine)


async def show_experiment(call: Call[PastQuery]) -> ExperimentDetail:
    """One experiment and its configuration."""
    async with call.reading() as database:
        return await queries.experiment(database, call.id("experiment"))


async def list_trials(call: Call[ListQuery]) -> TrialPage:
    """An experiment's trials by index."""
    experiment_id = call.id("experiment")
    async with call.reading() as database:
        await queries.check_experiment(database, experiment_id)
        return await queries.trials(database, experiment_id, call.query)


async def list_checkpoints(call: Call[ListQuery]) -> CheckpointPage:
    """The checkpoints of all trials."""
    experiment_id = call.id("experiment")
    async with call.reading() as database:
        await queries.check_experiment(database, experiment_id)
        return await queries.checkpoints(database, call.query, experiment_id=experiment_id)


def _ask(intent: Intent) -> Callable[[Call[NoQuery]], Awaitable[web.StreamResponse]]:
    async def ask(call: Call[NoQuery]) -> web.StreamResponse:
        experiment_id = ExperimentId(call.id("experiment"))
        known = await _check_unchanged(call, experiment_id)
        seq = await intents.ask(call.parts.client, experiment_id, intent, known_seq=known)
        await call.parts.position.wait(seq)
        experiment = await queries.experiment(call.parts.database, experiment_id)
        return json_response(experiment, seq=seq)

    return ask


async def change_job(call: Call[JobQuery]) -> web.StreamResponse:
    """Change an experiment's place or rights in the queue; trials that run are asked to stop only for others."""
    experiment_id, asked = ExperimentId(call.id("experiment")), call.query
    change = decide.job_event(
        experiment_id,
        priority=asked.priority,
        weight=asked.weight,
        max_slots=asked.max_slots,
        ahead_of=asked.ahead_of,
        behind=asked.behind,
        pool=asked.pool,
    )
    if isinstance(change, JobMoved):
        await permit.require_for(call.parts, Role.VIEWER, "experiments", change.beside_id)
    await _check(call.parts.database, change)
    known = await _check_unchanged(call, experiment_id)
    seq = await intents.change_job(call.parts.client, change, known_seq=known)
    await call.parts.position.wait(seq)
    return json_response(await queries.experiment(call.parts.database, experiment_id), seq=seq)


async def change_search(call: Call[SearchQuery]) -> web.StreamResponse:
    """Change how many trials a live search has; those requested already go on."""
    experiment_id, asked = ExperimentId(call.id("experiment")), call.query
    change = decide.search_event(
        experiment_id, max_trials=asked.max_trials, max_concurrent_trials=asked.max_concurrent_trials
    )
    known = await _check_unchanged(call, experiment_id)
    seq = await intents.change_search(call.parts.client, change, known_seq=known)
    await call.parts.position.wait(seq)
    return json_response(await queries.experiment(call.parts.database, experiment_id), seq=seq)


async def _check_unchanged(call: Call[AnyQueryT], experiment_id: str) -> int | None:
    return await call.check_unchanged(partial(queries.experiment, call.parts.database, experiment_id))


async def _check(database: ReadModel, change: JobEvent) -> None:
    subject = await administration.submitted(database, change.experiment_id)
    beside = await administration.submitted(database, change.beside_id) if isinstance(change, JobMoved) else None
    agents = await cluster.agents(database)
    pools = administration.admission_pools(await administration.pools(database, agents), agents)
    admission.check_change(change, subject, beside, pools, await administration.admission_limits(database))


def _wish(intent: Intent, summary: str) -> Route:
    path = f"{PREFIX}/experiments/{{id}}/{intent}"
    return post(path, _ask(intent), Experiment, summary, query=NoQuery, status=HTTPStatus.OK, problems=(404, 409, 412))


ROUTES = (
    get(
        f"{PREFIX}/experiments",
        list_experiments,
        ExperimentsQuery,
        ExperimentPage,
        "List experiments, newest first",
        is_cached=True,
    ),
    get(
        f"{PREFIX}/experiments/{{id}}",
        show_experiment,
        PastQuery,
        ExperimentDetail,
        "Show an experiment",
        is_cached=True,
    ),
    get(
        f"{PREFIX}/experiments/{{id}}/trials",
        list_trials,
        ListQuery,
        TrialPage,
        "List an experiment's trials",
        is_cached=True,
    ),
    get(
        f"{PREFIX}/experiments/{{id}}/checkpoints",
        list_checkpoints,
        ListQuery,
        CheckpointPage,
        "List the checkpoints of all trials of an experiment",
        is_cached=True,
    ),
    _wish(Intent.PAUSE, "Let the experiment hold no slots; its trials checkpoint and wait"),
    _wish(Intent.RESUME, "Let a paused experiment go on"),
    post(
        f"{PREFIX}/experiments/{{id}}/queue",
        change_job,
        Experiment,
        "Change an experiment's priority, weight, max_slots, position in the queue or resource pool",
        query=JobQuery,
        status=HTTPStatus.OK,
        problems=(400, 404, 409, 412, 422),
    ),
    post(
        f"{PREFIX}/experiments/{{id}}/search",
        change_search,
        Experiment,
        "Change max_trials and max_concurrent_trials of a live search",
        query=SearchQuery,
        status=HTTPStatus.OK,
        problems=(400, 404, 409, 412, 422),
    ),
    _wish(Intent.CANCEL, "End an experiment; running trials checkpoint and stop"),
)
