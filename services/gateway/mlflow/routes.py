"""The operations of MLflow's API that the gateway has, put together."""

from aiohttp import web

from services.gateway.mlflow import artifacts, experiments, metrics, models, runs
from services.gateway.mlflow.artifacts import MAX_UPLOADS, MAX_UPLOADS_EACH, UPLOADS
from services.gateway.mlflow.intents import TRACKING, Tracking
from services.gateway.mlflow.operations import ARTIFACTS_PREFIX, PREFIX, Asked, Operation, operation, unknown
from services.gateway.mlflow.wire import Said
from services.gateway.turns import Turns

NEWER_PREFIX = "/api/3.0/mlflow"  # where MLflow 3 asks what a server is, and for what came with it


class Question(Said, frozen=True, kw_only=True):
    """A question without more."""


class ServerInfo(Said, frozen=True, kw_only=True):
    """What clients want to know first. Files come and go through the gateway, in one piece each."""

    store_type: str = "trainmaster"
    workspaces_enabled: bool = True
    trace_archival_enabled: bool = False
    multipart_uploads_enabled: bool = False
    multipart_downloads_enabled: bool = False


async def server_info(asked: Asked[Question]) -> web.StreamResponse:
    """Say what this server is."""
    info = ServerInfo()
    return web.json_response({name: getattr(info, name) for name in info.__struct_fields__})


OPERATIONS: tuple[Operation, ...] = (
    operation("GET", "server-info", Question, server_info, looks=True, prefix=NEWER_PREFIX),
    *experiments.OPERATIONS,
    *runs.OPERATIONS,
    *metrics.OPERATIONS,
    *artifacts.OPERATIONS,
    *models.OPERATIONS,
)


def add_operations(app: web.Application) -> None:
    """Serve MLflow's API."""
    app[TRACKING] = Tracking()
    app[UPLOADS] = Turns("uploads", most=MAX_UPLOADS, each=MAX_UPLOADS_EACH)
    for one in OPERATIONS:
        app.router.add_route(one.method, one.path, one.respond)
    for prefix in (PREFIX, ARTIFACTS_PREFIX, NEWER_PREFIX):
        app.router.add_route("*", f"{prefix}/{{rest:.*}}", unknown)
