"""MLflow's operations as HTTP: who may, what is refused, what is found again after a rebuild."""

import asyncio
import io
import re
import secrets
from typing import Any

import pytest
from yarl import URL

from services.gateway.mlflow.operations import MAX_BODY_BYTES
from services.gateway.mlflow.routes import OPERATIONS
from services.tracker.rebuild import rebuild
from services.tracker.settings import Settings as TrackerSettings
from shared.events import Role
from tests.gateway.conftest import Api
from tests.gateway.test_access import as_, make_user
from tests.support.eventually import eventually
from tests.support.servers import NatsServer

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


async def begin(api: Api, name: str = "digits") -> tuple[str, str]:
    """A new experiment and a run in it."""
    made = await api.post(f"{API}/experiments/create", json={"name": name})
    run = await api.post(f"{API}/runs/create", json={"experiment_id": made["experiment_id"], "start_time": 1000})
    return made["experiment_id"], run["run"]["info"]["run_id"]


async def put(api: Api, path: str, body: bytes, status: int = 200) -> None:
    async with api.http.put(URL(f"{api.url}{FILES}/{path}", encoded=True), data=body) as response:
        assert response.status == status, await response.text()


@pytest.mark.parametrize("role", [None, *Role])
async def test_looking_needs_a_viewer_and_changing_an_editor(api: Api, role: Role | None) -> None:
    token = await make_user(api, "someone", role)
    order = list(Role)
    async with as_(token) as http, as_(None) as nobody:
        for one in OPERATIONS:
            url = api.url + re.sub(r"\{[^}]*\}", "x", one.path)
            async with nobody.request(one.method, url) as response:
                assert response.status == 401, one
            needed = Role.VIEWER if one.looks else Role.EDITOR
            is_allowed = role is not None and order.index(role) >= order.index(needed)
            async with http.request(one.method, url) as response:
                assert (response.status != 403) == is_allowed, (one, role, response.status)
                if not is_allowed:
                    assert (await response.json())["error_code"] == "PERMISSION_DENIED"


async def test_every_mistake_of_a_request_is_named(api: Api) -> None:
    _, run_id = await begin(api)
    bad = {"run_id": run_id, "metrics": [{"key": "a", "value": "x"}, {"key": "b", "value": 1, "step": -1}]}
    answer = await api.post(f"{API}/runs/log-batch", 400, json=bad)
    assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "metrics[0].value" in answer["message"] and "metrics[1].step" in answer["message"]
    answer = await api.post(f"{API}/runs/log-metric", 400, json={"value": "x", "timestamp": -1})
    assert all(name in answer["message"] for name in ("run_id", "key", "timestamp"))
    for body in (b"{", b"[]", b'{"a":"' + b"x" * MAX_BODY_BYTES + b'"}', b"\xff"):
        assert (await api.post(f"{API}/runs/create", 400, data=io.BytesIO(body)))[
            "error_code"
        ] == "INVALID_PARAMETER_VALUE"
    assert (await api.get(f"{API}/registered-models/search", 404))["error_code"] == "ENDPOINT_NOT_FOUND"
    assert (await api.get(f"{API}/runs/get", 404, run_id="nowhere"))["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    answer = await api.post(f"{API}/runs/search", 400, json={"experiment_ids": ["0"], "page_token": "?"})
    assert "next_page_token" in answer["message"]


async def test_a_history_of_models_that_a_client_has_set_to_nonsense_is_its_mistake(api: Api) -> None:
    _, run_id = await begin(api)
    of, key = {"run_id": run_id}, "mlflow.log-model.history"
    await api.post(f"{API}/runs/log-model", json=of | {"model_json": '{"artifact_path": "first"}'})
    for nonsense in ("x", "{}", "[" * 5_000):
        await api.post(f"{API}/runs/set-tag", json=of | {"key": key, "value": nonsense})
        answer = await api.post(f"{API}/runs/log-model", 400, json=of | {"model_json": "{}"})
        assert key in answer["message"]
    answer = await api.post(f"{API}/runs/log-model", 400, json=of | {"model_json": '{"a":' + "[" * 50_000})
    assert "model_json" in answer["message"]
    await api.post(f"{API}/runs/delete-tag", json=of | {"key": key})
    await api.post(f"{API}/runs/log-model", json=of | {"model_json": "{}"})


async def test_json_that_is_nested_without_end_is_a_mistake(api: Api) -> None:
    body = b'{"name":' + b"[" * 60_000 + b"]" * 3
    headers = {"Content-Type": "application/json"}
    answer = await api.post(f"{API}/experiments/create", 400, data=body, headers=headers)
    assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
    assert (await api.post("/api/v1/workspaces", 400, data=body, headers=headers))["status"] == 400


async def test_artifacts_stay_below_their_experiment(api: Api) -> None:
    experiment_id, run_id = await begin(api)
    root = f"{experiment_id}/{run_id}/artifacts"
    await put(api, f"{root}/a/b.json", b'{"k": 1}')
    await put(api, f"{root}/empty", b"")
    for path in (f"{root}/..%2f..%2fsecret", f"{root}/%2e%2e/x", f"{root}/a%00b", f"{root}/{'x' * 2000}"):
        await put(api, path, b"x", status=400)
    await put(api, "nowhere/x/artifacts/y", b"x", status=404)
    listed = await api.get(f"{API}/artifacts/list", run_id=run_id)
    assert listed["files"] == [{"path": "a", "is_dir": True}, {"path": "empty", "is_dir": False, "file_size": 0}]
    listed = await api.get(f"{FILES}?path={root}/a")
    assert listed["files"] == [{"path": "b.json", "is_dir": False, "file_size": 8}]
    async with api.http.get(f"{api.url}{FILES}/{root}/a/b.json") as response:
        assert await response.read() == b'{"k": 1}' and "attachment" in response.headers["Content-Disposition"]
    async with api.http.get(f"{api.url}{FILES}/{root}/a/c.json") as response:
        assert response.status == 404
    async with api.http.delete(f"{api.url}{FILES}/{root}/a") as response:
        assert response.status == 200
    assert [file["path"] for file in (await api.get(f"{API}/artifacts/list", run_id=run_id))["files"]] == ["empty"]
    async with api.http.delete(f"{api.url}{FILES}/{experiment_id}") as response:
        assert response.status == 400
    outsider = await make_user(api, "outsider", "editor", "speech")
    async with as_(outsider) as http:
        for method in ("GET", "PUT", "DELETE"):
            async with http.request(method, f"{api.url}{FILES}/{root}/empty") as response:
                assert response.status == 404


async def test_a_history_is_read_page_by_page(api: Api) -> None:
    _, run_id = await begin(api)
    points = [{"key": "loss", "value": step / 2, "timestamp": 1000 + step, "step": step} for step in range(1, 901)]
    unstepped = [{"key": "loss", "value": 7.0 + n, "timestamp": 10 + n} for n in range(30)]
    await api.post(f"{API}/runs/log-batch", json={"run_id": run_id, "metrics": points})
    await api.post(f"{API}/runs/log-batch", json={"run_id": run_id, "metrics": unstepped})
    found: list[Any] = []
    token = ""
    while True:
        asked = f"run_id={run_id}&metric_key=loss&max_results=200&page_token={token}"
        page = await api.get(f"{API}/metrics/get-history?{asked}")
        found += page["metrics"]
        token = page.get("next_page_token", "")
        if not token:
            break
        assert len(page["metrics"]) == 200
    assert [point["value"] for point in found if "step" not in point] == [7.0 + n for n in range(30)]
    series = [(point["step"], point["value"], point["timestamp"]) for point in found if "step" in point]
    assert series == [(step, step / 2, 1000 + step) for step in range(1, 901)]


async def test_two_who_make_the_same_experiment_at_once_make_one(api: Api) -> None:
    async def create() -> int:
        async with api.http.post(f"{api.url}{API}/experiments/create", json={"name": "one"}) as response:
            return response.status

    statuses = await asyncio.gather(*(create() for _ in range(6)))
    assert sorted(statuses) == [200, 400, 400, 400, 400, 400]


async def test_runs_are_folded_again_from_the_log(api: Api, nats_server: NatsServer) -> None:
    experiment_id, run_id = await begin(api)
    metrics = [{"key": "loss", "value": 0.5, "timestamp": 5, "step": 3}, {"key": "bad", "value": "NaN", "timestamp": 6}]
    params, tags = [{"key": "lr", "value": "0.1"}], [{"key": "k", "value": "v"}]
    body = {"run_id": run_id, "metrics": metrics, "params": params, "tags": tags}
    await api.post(f"{API}/runs/log-batch", json=body)
    await api.post(f"{API}/runs/update", json={"run_id": run_id, "status": "FINISHED", "end_time": 2000})
    await api.post(f"{API}/experiments/set-experiment-tag", json={"experiment_id": "0", "key": "k", "value": "v"})
    before = await api.get(f"{API}/runs/get", run_id=run_id)
    assert [metric["value"] for metric in before["run"]["data"]["metrics"]] == ["NaN", 0.5]
    default = await api.get(f"{API}/experiments/get", experiment_id="0")
    assert default["experiment"]["tags"] == [{"key": "k", "value": "v"}]
    await rebuild(TrackerSettings(nats_url=nats_server.url_as("tracker"), postgres_url=api.settings.postgres_url))

    async def found(path: str, **query: str) -> Any:
        async with api.http.get(f"{api.url}{API}/{path}", params=query) as response:
            return await response.json()

    async def are_as_before() -> bool:
        shown = await found("runs/get", run_id=run_id), await found("experiments/get", experiment_id="0")
        return shown == (before, default)

    await eventually(are_as_before)
    assert before["run"]["info"]["experiment_id"] == experiment_id


async def test_metrics_are_written_onto_a_model_only_where_its_experiment_may_be_changed(api: Api) -> None:
    hidden, _ = await begin(api)
    model = (await api.post(f"{API}/logged-models", json={"experiment_id": hidden, "name": "m"}))["model"]["info"]
    token = await make_user(api, "insider", "editor", "speech")
    metric = {"key": "loss", "value": 1, "timestamp": 1000, "model_id": model["model_id"]}
    async with as_(token) as http:
        http.headers["X-MLFLOW-WORKSPACE"] = "speech"
        async with http.post(f"{api.url}{API}/experiments/create", json={"name": "own"}) as response:
            own = (await response.json())["experiment_id"]
        begun = {"experiment_id": own, "start_time": 1000}
        async with http.post(f"{api.url}{API}/runs/create", json=begun) as response:
            run_id = (await response.json())["run"]["info"]["run_id"]
        for path, body in (("log-metric", metric), ("log-batch", {"metrics": [metric]})):
            async with http.post(f"{api.url}{API}/runs/{path}", json={"run_id": run_id, **body}) as response:
                assert response.status == 404, path
        async with http.post(f"{api.url}{API}/logged-models", json={"experiment_id": own, "name": "m"}) as response:
            mine = (await response.json())["model"]["info"]["model_id"]
        body = {"run_id": run_id, **metric, "model_id": mine}
        async with http.post(f"{api.url}{API}/runs/log-metric", json=body) as response:
            assert response.status == 200, await response.text()


async def test_nothing_is_tracked_in_a_workspace_that_is_closed(api: Api) -> None:
    await api.post("/api/v1/workspaces", 201, json={"name": "vision"})
    await api.post("/api/v1/workspaces/vision/archive")
    create, within = f"{API}/experiments/create", {"X-MLFLOW-WORKSPACE": "vision"}
    refused = await api.post(create, 400, json={"name": "digits"}, headers=within)
    assert refused["error_code"] == "INVALID_PARAMETER_VALUE" and "workspace: is archived" in refused["message"]
    await api.post("/api/v1/workspaces/vision/unarchive")
    await api.post(create, json={"name": "digits"}, headers=within)


async def test_a_name_tells_nothing_of_a_hidden_experiment(api: Api) -> None:
    config = "{name: secret, entrypoint: python train.py, workspace: vision, searcher: {name: single, metric: loss}}"
    submitted = await api.submit(config)
    found = await api.get(f"{API}/experiments/search", max_results=10)
    name = found["experiments"][0]["name"]
    assert "secret" in name
    token = await make_user(api, "outsider", "viewer", "speech")
    answers = []
    async with as_(token) as http:
        for asked in (name, name.replace("secret", "sacred")):
            query = {"experiment_name": asked}
            async with http.get(f"{api.url}{API}/experiments/get-by-name", params=query) as response:
                assert response.status == 404
                answers.append((await response.text()).replace(asked, "NAME"))
    assert answers[0] == answers[1] and submitted["id"] not in answers[0].replace("NAME", "")


async def test_what_is_accepted_of_models_is_shown(api: Api) -> None:
    """Names as long as they may be, of the longest characters: nothing of it is set aside."""
    experiment_id, run_id = await begin(api)
    key, name, digest = ("".join(chr(0x1F300 + secrets.randbelow(700)) for _ in range(n)) for n in (250, 500, 500))
    of = {"experiment_id": experiment_id, "source_run_id": run_id}
    model_id = (await api.post(f"{API}/logged-models", json=of))["model"]["info"]["model_id"]
    metric = {"key": key, "value": 0.5, "timestamp": 1, "step": 2, "model_id": model_id}
    on = {"dataset_name": name, "dataset_digest": digest}
    await api.post(f"{API}/runs/log-metric", json={"run_id": run_id, **metric, **on})
    await api.post(f"{API}/runs/log-batch", json={"run_id": run_id, "metrics": [metric | on | {"value": 0.75}]})
    (shown,) = (await api.get(f"{API}/logged-models/{model_id}"))["model"]["data"]["metrics"]
    assert (shown["key"], shown["dataset_name"], shown["dataset_digest"], shown["value"]) == (key, name, digest, 0.75)
    assert (await api.get("/api/v1/set-aside"))["total"] == 0


async def test_what_the_tables_cannot_hold_is_refused(api: Api) -> None:
    experiment_id, run_id = await begin(api)
    model_id = (await api.post(f"{API}/logged-models", json={"experiment_id": experiment_id}))["model"]["info"][
        "model_id"
    ]
    for field, text in (
        ("dataset_name", "x" * 501),
        ("dataset_name", "a\0b"),
        ("dataset_digest", "x" * 501),
        ("dataset_digest", "a\0b"),
        ("model_id", f"{model_id}\0"),
    ):
        metric = {"key": "a", "value": 1, "timestamp": 1, "model_id": model_id} | {field: text}
        answer = await api.post(f"{API}/runs/log-metric", 400, json={"run_id": run_id, **metric})
        assert field in answer["message"], field
        answer = await api.post(f"{API}/runs/log-batch", 400, json={"run_id": run_id, "metrics": [metric]})
        assert field in answer["message"], field
    for text in ("a\0b", "x" * 251):
        answer = await api.post(f"{API}/logged-models", 400, json={"experiment_id": "0", "source_run_id": text})
        assert "source_run_id" in answer["message"]
    assert (await api.get("/api/v1/set-aside"))["total"] == 0


async def test_a_search_is_ordered_by_so_many_things(api: Api) -> None:
    experiment_id, _ = await begin(api)
    for path, of in (("runs", {"experiment_ids": [experiment_id]}), ("experiments", {})):
        for number, status in ((20, 200), (21, 400), (2_000, 400)):
            asked = {"order_by": [f"tags.t{n} DESC" for n in range(number)], **of}
            answer = await api.post(f"{API}/{path}/search", status, json=asked)
            assert (len(answer[path]) > 0) if status == 200 else ("order_by" in answer["message"]), (path, number)
    async with api.http.get(f"{api.url}{API}/experiments/search?{'&'.join(['order_by=name'] * 21)}") as response:
        assert response.status == 400
