"""What was done is answered as done, also while the read model, or what the gateway folds itself, is behind."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from services.gateway.access.access import Access
from services.gateway.api import Parts
from services.gateway.app import make_app
from services.gateway.position import Position
from services.gateway.pulse import Pulse
from services.gateway.webhooks import target
from services.gateway.webhooks.sender import Webhooks
from shared import broker, postgres
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.gateway.conftest import ADMIN_TOKEN, AS_ADMIN, Api
from tests.support.eventually import eventually
from tests.support.servers import NatsServer

MLFLOW = "/api/2.0/mlflow"


@contextlib.asynccontextmanager
async def behind(api: Api) -> AsyncIterator[None]:
    """The tracker can write nothing meanwhile: each of its transactions says how far it has come."""
    connection = await asyncpg.connect(api.settings.postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE projections IN SHARE MODE")
            yield
    finally:
        await connection.close()


async def change(api: Api, method: str, path: str, key: str = "", **asked: Any) -> tuple[int, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    async with api.http.request(method, f"{api.url}{path}", headers=headers, **asked) as response:
        return response.status, await response.json(content_type=None)


async def shown(api: Api, path: str) -> Any:
    """What the API shows there, once it does."""

    async def look() -> Any:
        async with api.http.get(f"{api.url}{path}") as response:
            return await response.json() if response.status == 200 else None

    return await eventually(look)


async def test_workspaces_and_projects_are_made_while_the_read_model_is_behind(api: Api) -> None:
    async with behind(api):
        asked = {"name": "vision", "description": "of images"}
        made = await change(api, "POST", "/api/v1/workspaces", "first", json=asked)
        again = await change(api, "POST", "/api/v1/workspaces", "first", json=asked)
        assert made[0] == 201 and again == made, "the same key, the same answer"
    workspace = await shown(api, f"/api/v1/workspaces/{made[1]['id']}")
    assert made[1] | {"created_at": workspace["created_at"]} == workspace
    path = f"/api/v1/workspaces/{workspace['id']}"
    async with behind(api):
        status, project = await change(api, "POST", f"{path}/projects", json={"name": "digits"})
        assert status == 201
        status, described = await change(api, "PATCH", path, json={"description": "of all images"})
        assert (status, described["description"]) == (200, "of all images") and described["seq"] > workspace["seq"]
    found = await shown(api, f"/api/v1/projects/{project['id']}")
    assert project | {"created_at": found["created_at"]} == found


async def test_a_pool_is_configured_while_the_read_model_is_behind(api: Api) -> None:
    async with behind(api):
        status, pool = await change(api, "PUT", "/api/v1/pools/new", params={"type": "fair_share"})
    assert status == 200 and pool["id"] == "new" and pool["policy"]["type"] == "fair_share"

    async def listed() -> bool:
        return pool in (await api.get("/api/v1/pools"))["items"]

    await eventually(listed)


async def test_an_mlflow_client_goes_on_once_the_read_model_has_caught_up(api: Api) -> None:
    made = await api.post(f"{MLFLOW}/experiments/create", json={"name": "digits"})
    of = {"experiment_id": made["experiment_id"]}
    async with behind(api):
        tags = [{"key": "kind", "value": "test"}]
        status, begun = await change(api, "POST", f"{MLFLOW}/runs/create", json=of | {"start_time": 1000, "tags": tags})
        assert status == 200 and begun["run"]["info"]["status"] == "RUNNING"
        run_id = begun["run"]["info"]["run_id"]
        status, model = await change(api, "POST", f"{MLFLOW}/logged-models", json=of | {"source_run_id": run_id})
        assert status == 200 and model["model"]["info"]["status"] == "LOGGED_MODEL_PENDING"
        param = {"run_id": run_id, "key": "lr", "value": "0.1"}
        status, answer = await change(api, "POST", f"{MLFLOW}/runs/log-parameter", json=param)
        assert (status, answer["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE"), "clients try again"
        status, answer = await change(api, "POST", f"{MLFLOW}/experiments/create", json={"name": "other"})
        other = answer["experiment_id"]
        status, answer = await change(api, "POST", f"{MLFLOW}/experiments/create", json={"name": "other"})
        assert status == 503, "the name may be taken, and is"
    found = await shown(api, f"{MLFLOW}/runs/get?run_id={run_id}")
    assert found == begun
    model_id = model["model"]["info"]["model_id"]
    kept = await shown(api, f"{MLFLOW}/logged-models/{model_id}")
    assert kept["model"]["data"] == model["model"]["data"]
    assert kept["model"]["info"].keys() == model["model"]["info"].keys()
    await api.post(f"{MLFLOW}/runs/log-parameter", json=param)
    runs = await api.post(f"{MLFLOW}/runs/search", json={"experiment_ids": [made["experiment_id"]]})
    assert [run["info"]["run_id"] for run in runs["runs"]] == [run_id]
    status, answer = await change(api, "POST", f"{MLFLOW}/experiments/create", json={"name": "other"})
    assert (status, answer["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
    assert (await shown(api, f"{MLFLOW}/experiments/get?experiment_id={other}"))["experiment"]["name"] == "other"
    assert (await change(api, "GET", f"{MLFLOW}/runs/get?run_id=nope"))[0] == 404, "nothing is behind any more"


async def test_users_and_webhooks_are_made_before_the_gateway_has_heard_of_them(
    api: Api, nats_server: NatsServer, s3: S3Settings
) -> None:
    """A second gateway that follows nothing."""
    async with (
        broker.connect(nats_server.url_as("gateway"), "gateway") as client,
        postgres.pool(api.settings.postgres_url, max_size=2) as database,
    ):
        known, store = Access(client, ADMIN_TOKEN), ObjectStore(s3)
        webhooks = Webhooks(client, known.secrets, target.networks("127.0.0.0/8"))
        parts = Parts(
            client=client, database=database, past=database, store=store, position=Position(), pulse=Pulse(),
            access=known, webhooks=webhooks, metrics=Position("metrics"),
        )  # fmt: skip
        runner = web.AppRunner(make_app(parts, "127.0.0.1"), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with aiohttp.ClientSession(headers=AS_ADMIN) as http:
                deaf = Api(http=http, url=f"http://127.0.0.1:{_port(runner)}", log=api.log, settings=api.settings)
                user = await deaf.post("/api/v1/users", 201, json={"name": "bob", "full_name": "Bob"})
                hook = (await deaf.post("/api/v1/webhooks", 201, json={"url": "http://127.0.0.1/"}))["webhook"]
        finally:
            await runner.cleanup()
    assert user | {"created_at": ""} == await shown(api, "/api/v1/users/bob") | {"created_at": ""}
    listed = (await shown(api, "/api/v1/webhooks"))["items"]
    assert [hook | {"created_at": ""}] == [found | {"created_at": ""} for found in listed]


def _port(runner: web.AppRunner) -> int:
    port: int = runner.addresses[0][1]
    return port
