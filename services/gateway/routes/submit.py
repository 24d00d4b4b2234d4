"""Submission of an experiment: a config and an archive of the code directory, as a multipart form."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import BodyPartReader, web

from services.gateway import administration, admission, cluster, decide, intents, queries
from services.gateway.access import permit
from services.gateway.api import PREFIX, Call, NoQuery, json_response, post
from services.gateway.views import (
    Experiment,
    ExperimentState,
    SearcherView,
    TrialCounts,
)
from services.gateway.warm_start import with_observations
from shared.archive import MAX_ARCHIVE_BYTES
from shared.errors import Problem, Rejected
from shared.events import ExperimentSubmitted, Role

MAX_CONFIG_BYTES = 1024 * 1024
LIMITS = {"config": MAX_CONFIG_BYTES, "code": MAX_ARCHIVE_BYTES}
UPLOAD_TIMEOUT_S = 120.0
MAX_AT_ONCE = 4  # submissions in memory

_turn = asyncio.Semaphore(MAX_AT_ONCE)


async def submit(call: Call[NoQuery]) -> web.StreamResponse:
    """Check everything, then store the code, then append: nothing is left half-done."""
    parts = call.parts
    async with _turn:
        async with asyncio.timeout(UPLOAD_TIMEOUT_S):
            form = await _read_form(call.request)
        config = await intents.read_submission(_text(form["config"]), form["code"])
        permit.require(Role.EDITOR, config["workspace"])
        agents = await cluster.agents(parts.database)
        pools = administration.admission_pools(await administration.pools(parts.database, agents), agents)
        config = admission.admit(config, pools, await administration.admission_limits(parts.database))
        decide.check_precision(config, cluster.slot_kinds(agents, config["resources"]["resource_pool"]))
        if (origin := config["resume_from"]) is not None:
            decide.check_resume_from(origin, await queries.find_checkpoint(parts.database, origin))
        config = await with_observations(parts.database, config)
        seq, event = await intents.submit(parts.client, parts.store, config, form["code"])
    if await parts.position.wait(seq):
        shown: Experiment = await queries.experiment(parts.database, event.experiment_id)
    else:
        shown = _as_submitted(event, seq)
    location = f"{PREFIX}/experiments/{event.experiment_id}"
    return json_response(shown, seq=seq, status=HTTPStatus.CREATED, location=location)


async def _read_form(request: web.Request) -> dict[str, bytes]:
    if request.content_type != "multipart/form-data":
        raise _wrong(
            "", f"the body is {request.content_type}, not multipart/form-data", HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        )
    form: dict[str, bytes] = {}
    try:
        async for part in await request.multipart():
            name = part.name if isinstance(part, BodyPartReader) else None
            if not isinstance(part, BodyPartReader) or name not in LIMITS or name in form:
                raise _wrong(name or "", "is no part that is wanted here", HTTPStatus.BAD_REQUEST)
            form[name] = await _read_part(part, name)
    except ValueError as error:
        raise _wrong("", f"the body is no multipart form: {error}", HTTPStatus.BAD_REQUEST) from error
    missing = tuple(Problem(name, "is missing") for name in LIMITS if name not in form)
    if missing:
        raise Rejected("the form is incomplete", missing, status=HTTPStatus.BAD_REQUEST)
    return form


async def _read_part(part: BodyPartReader, name: str) -> bytes:
    body = bytearray()
    while chunk := await part.read_chunk():
        body += chunk
        if len(body) > LIMITS[name]:
            raise _wrong(name, f"has more than {LIMITS[name]} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(body)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _wrong("config", f"is not UTF-8: {error}", HTTPStatus.UNPROCESSABLE_ENTITY) from error


def _wrong(path: str, message: str, status: int) -> Rejected:
    mistake = Problem(path, message, f"send the parts {' and '.join(LIMITS)}")
    return Rejected("the form has a mistake", (mistake,), status=status)


def _as_submitted(event: ExperimentSubmitted, seq: int) -> Experiment:
    """The experiment as it is in its first moment, for when the read model is behind."""
    config: dict[str, Any] = event.config
    searcher, resources = config["searcher"], config["resources"]
    return Experiment(
        id=event.experiment_id,
        name=event.name,
        description=config["description"],
        labels=config["labels"],
        state=ExperimentState.ACTIVE,
        searcher=SearcherView(
            name=searcher["name"],
            metric=searcher["metric"],
            smaller_is_better=searcher["smaller_is_better"],
            max_trials=searcher.get("max_trials"),
        ),
        slots_per_trial=resources["slots_per_trial"],
        workspace=config["workspace"],
        pool=resources["resource_pool"],
        priority=resources["priority"],
        weight=resources["weight"],
        max_slots=resources["max_slots"],
        progress=0.0,
        submitted_at=datetime.now(UTC),
        ended_at=None,
        reason=None,
        trials=TrialCounts(total=0, waiting=0, running=0, completed=0, failed=0, canceled=0),
        best=None,
        seq=seq,
    )


ROUTES = (
    post(
        f"{PREFIX}/experiments",
        submit,
        Experiment,
        "Submit an experiment",
        query=NoQuery,
        status=HTTPStatus.CREATED,
        problems=(400, 413, 415, 422),
        forms=("config", "code"),
    ),
)
