"""Wiring: connections, routes, middlewares, and an end that does not wait for those who only listen."""

import asyncio
import json
import logging

from aiohttp import web
from aiohttp.typedefs import Handler
from nats.aio.client import Client

from services.gateway import conditional, guard, idempotency, instruments, openapi, page, past, problems, sse
from services.gateway.access import access, permit
from services.gateway.api import PARTS, Parts
from services.gateway.collector import Collector
from services.gateway.mlflow import routes as mlflow
from services.gateway.pacing import Pace
from services.gateway.position import Position
from services.gateway.pulse import Pulse
from services.gateway.routes import ROUTES
from services.gateway.routes.code import CODE_READS, MAX_READS, MAX_READS_EACH
from services.gateway.routes.exports import EXPORTS, MAX_EXPORTS
from services.gateway.routes.submit import MAX_AT_ONCE, MAX_AT_ONCE_EACH, SUBMISSIONS
from services.gateway.settings import Settings
from services.gateway.slow_clients import SlowClients
from services.gateway.sweeper import Sweeper
from services.gateway.turns import Turns
from services.gateway.webhooks.sender import Webhooks
from shared import broker, postgres, runtime, subjects, tracing
from shared.errors import Unavailable
from shared.exposition import Exposition
from shared.objectstore import ObjectStore

MAX_CONNECTIONS = 8  # to PostgreSQL
MAX_PAST_CONNECTIONS = 4  # of those who ask about the past; they come and go
SHUTDOWN_TIMEOUT_S = 3.0
RETRY_S = 0.5

SLOW = web.AppKey("slow", SlowClients)

_log = logging.getLogger(__name__)


def make_app(
    parts: Parts, host: str, published: frozenset[str] = frozenset(), *, requests_per_s: float = 1000.0
) -> web.Application:
    """Return the application over these parts, for a server that listens on `host` and is `published` under names."""
    own = guard.own_names(host, published)
    known = access.authenticate(parts.access, Pace(requests_per_s))
    slow = SlowClients()
    app = web.Application(
        middlewares=[
            slow.note,
            instruments.measure,
            traced,
            conditional.compress,
            problems.problems,
            guard.guard(own),
            known,
        ]
    )
    app[PARTS] = parts
    app[SLOW] = slow
    app[sse.STREAMS] = set()
    app[SUBMISSIONS] = Turns("submissions", most=MAX_AT_ONCE, each=MAX_AT_ONCE_EACH)
    app[CODE_READS] = Turns("reads of code", most=MAX_READS, each=MAX_READS_EACH)
    app[EXPORTS] = asyncio.Semaphore(MAX_EXPORTS)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, permit.permitted(route))
    mlflow.add_operations(app)
    description = json.dumps(openapi.document()).encode()

    async def describe(request: web.Request) -> web.StreamResponse:
        return web.Response(body=description, content_type="application/json")

    app.router.add_get("/openapi.json", describe)
    page.add_page(app)
    app.on_response_prepare.extend([guard.add_headers, problems.note_begun])
    app.on_shutdown.append(sse.close_all)
    return app


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Make a request part of the trace that it names; of a new one, if it changes something and spans are collected."""
    parent = tracing.parse(request.headers.get("traceparent"))
    if parent is None and request.method in guard.SAFE_METHODS:
        return await handler(request)
    resource = request.match_info.route.resource
    name = f"{request.method} {resource.canonical if resource else 'none'}"
    with tracing.span(name[:200], parent, tracing.Kind.SERVER):
        return await handler(request)


async def serve(settings: Settings) -> None:
    """Run the gateway until it is cancelled."""
    async with (
        broker.connect(settings.nats_url, subjects.GATEWAY) as client,
        postgres.pool(settings.postgres_url, max_size=MAX_CONNECTIONS) as database,
        postgres.pool(
            settings.postgres_url, min_size=0, max_size=MAX_PAST_CONNECTIONS, settings=past.SESSION
        ) as before,
        asyncio.TaskGroup() as tasks,
    ):
        position, metrics = Position(), Position("metrics")
        pulse, store = Pulse(), ObjectStore(settings.s3)
        known = access.Access(client, settings.admin_token)
        await pulse.listen(client)
        tasks.create_task(known.run(), name="follow the users")
        tasks.create_task(known.forget(), name="forget tokens that are over")
        webhooks = Webhooks(client, known.secrets, settings.webhook_networks)
        tasks.create_task(webhooks.run(), name="post to webhooks")
        for heard in (position, metrics):
            tasks.create_task(heard.run(settings.postgres_url), name="hear the tracker")
        tasks.create_task(_ensure_bucket(store), name="ensure the bucket")
        tasks.create_task(Collector(client, database, store, position).run(), name="collect checkpoints")
        tasks.create_task(Sweeper(client, database, store, position).run(), name="sweep the object store")
        tasks.create_task(_beat(client, position), name="beat")
        tasks.create_task(idempotency.forget_old(database), name="forget old keys")
        parts = Parts(
            client=client,
            database=database,
            past=before,
            store=store,
            position=position,
            pulse=pulse,
            access=known,
            webhooks=webhooks,
            hosts=settings.hosts,
            metrics=metrics,
        )
        app = make_app(parts, settings.host, settings.names, requests_per_s=settings.requests_per_s)
        shown = Exposition(
            client,
            subjects.GATEWAY,
            {subjects.EVENTS: lambda: position.value},
            lambda: instruments.observe(pulse, len(app[sse.STREAMS]), webhooks.hooks),
        )
        tasks.create_task(shown.run(), name="show metrics")
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        assert runner.server is not None, "it is set up"
        tasks.create_task(app[SLOW].run(runner.server), name="end slow clients")
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
            _log.info("serving", extra={"host": settings.host, "port": settings.port})
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


async def _beat(client: Client, position: Position) -> None:
    health = subjects.health_subject(subjects.GATEWAY, "main")
    await runtime.beat(client, health, lambda: {"position": position.value})


async def _ensure_bucket(store: ObjectStore) -> None:
    while True:
        try:
            await store.ensure_bucket()
        except Unavailable as error:
            _log.warning("waiting for the object store", extra={"error": str(error)})
            await asyncio.sleep(RETRY_S)
        else:
            return
