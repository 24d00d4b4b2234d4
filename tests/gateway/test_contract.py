"""What holds for every route: keys that make a request happen once, tags, compression, pace, ends of streams."""

import asyncio
import dataclasses
from typing import Any

import aiohttp
from aiohttp import web

from services.gateway.app import serve
from services.gateway.pacing import Pace
from services.gateway.routes import ROUTES
from services.gateway.slow_clients import HEAD_S, SlowClients
from shared import log, subjects
from shared.events import WorkspaceDescribed
from shared.ids import UserId, workspace_id
from tests.gateway.conftest import CONFIG, Api, archive, form, running
from tests.gateway.test_access import as_, make_user
from tests.support.eventually import PATIENCE_S, eventually
from trainmaster.embedded.program import free_port

FORMS = {"/api/v1/experiments"}


async def send(api: Api, path: str, key: str, **request: Any) -> tuple[int, Any, bool]:
    async with api.http.post(f"{api.url}{path}", headers={"Idempotency-Key": key}, **request) as response:
        return response.status, await response.json(content_type=None), "Idempotency-Replayed" in response.headers


async def test_a_submission_that_is_sent_twice_makes_one_experiment(api: Api) -> None:
    answers = [await send(api, "/api/v1/experiments", '"abc"', data=form(CONFIG, archive())) for _ in range(2)]
    assert [status for status, _, _ in answers] == [201, 201] and [again for *_, again in answers] == [False, True]
    assert answers[0][1] == answers[1][1]
    assert len((await api.get("/api/v1/experiments"))["items"]) == 1
    status, answer, _ = await send(api, "/api/v1/experiments", '"abc"', data=form(CONFIG + "labels: [x]", archive()))
    assert status == 422 and answer["errors"][0]["path"] == "Idempotency-Key"
    assert (await send(api, "/api/v1/experiments", "", data=form(CONFIG, archive())))[0] == 400


async def test_of_many_at_once_with_one_key_one_happens(api: Api) -> None:
    body = {"name": "vision"}
    answers = await asyncio.gather(*(send(api, "/api/v1/workspaces", "k1", json=body) for _ in range(8)))
    assert {status for status, *_ in answers} <= {201, 409}
    assert sum(status == 201 and not again for status, _, again in answers) == 1
    assert (await send(api, "/api/v1/workspaces", "k1", json=body))[0] == 201
    assert (await send(api, "/api/v1/workspaces", "k1", json={"name": "speech"}))[0] == 422
    assert (await send(api, "/api/v1/workspaces", "k2", json=body))[0] == 409


async def test_a_refusal_leaves_the_key_free_and_a_secret_is_not_kept(api: Api) -> None:
    assert (await send(api, "/api/v1/tokens", "k3", json={}))[0] == 422
    status, made, _ = await send(api, "/api/v1/tokens", "k3", json={"label": "x"})
    assert status == 201 and made["token"]
    status, again, _ = await send(api, "/api/v1/tokens", "k3", json={"label": "x"})
    assert status == 409 and "secret" in again["detail"]


async def test_a_key_is_free_again_when_somebody_else_was_faster(api: Api) -> None:
    event = WorkspaceDescribed(
        workspace_id=workspace_id("vision"), description="a change that is not in the tables yet"
    )
    envelope = log.envelope_of(event, writer="gateway", actor=UserId("ada"), correlation="vision")
    await log.append_once(api.log, envelope, expected=0)
    status, refused, _ = await send(api, "/api/v1/workspaces", "k5", json={"name": "vision"})
    assert status == 409 and "at the same moment" in refused["detail"]
    status, made, is_old = await send(api, "/api/v1/workspaces", "k5", json={"name": "speech"})
    assert (status, made["name"], is_old) == (201, "speech", False)


async def test_a_request_whose_answer_was_lost_with_its_gateway_finds_what_it_made(api: Api, postgres_url: str) -> None:
    import asyncpg

    first = (await send(api, "/api/v1/experiments", "k4", data=form(CONFIG, archive())))[1]
    connection = await asyncpg.connect(postgres_url)
    try:  # as if it had died between the append and the answer, and the lease were over
        await connection.execute(
            "UPDATE idempotency_keys SET status = NULL, headers = NULL, body = NULL,"
            " begun_at = now() - interval '2 minutes'"
        )
    finally:
        await connection.close()
    status, again, _ = await send(api, "/api/v1/experiments", "k4", data=form(CONFIG, archive()))
    assert (status, again["id"]) == (201, first["id"])
    newest = await log.last_of(api.log, subjects.event_filter("gateway", "experiment", name="ExperimentSubmitted"))
    assert newest is not None and first["id"] in newest.subject


async def test_an_answer_that_the_client_has_is_not_sent_again(api: Api) -> None:
    experiment = await api.submit()
    url = f"{api.url}/api/v1/experiments/{experiment['id']}"
    async with api.http.get(url) as response:
        tag = response.headers["ETag"]
        assert response.headers["Content-Encoding"] == "gzip" and tag.endswith('-gzip"')
    for one in (tag, f'W/"x", {tag.replace("-gzip", "")}'):
        async with api.http.get(url, headers={"If-None-Match": one}) as response:
            assert response.status == 304 and await response.read() == b""
    async with api.http.get(url, headers={"Accept-Encoding": "identity", "TM-Min-Seq": "1"}) as response:
        assert "Content-Encoding" not in response.headers and response.headers["ETag"] == tag.replace("-gzip", "")
    async with api.http.patch(url, json={"notes": "x"}, headers={"If-Match": tag}) as response:
        assert response.status == 200
    async with api.http.get(url, headers={"If-None-Match": tag}) as response:
        assert response.status == 200
    async with api.http.get(url, headers={"TM-Min-Seq": "soon"}) as response:
        assert response.status == 400


def test_a_bucket_empties_and_fills_and_the_oldest_is_forgotten() -> None:
    pace = Pace(1)
    assert [pace.take("a") for _ in range(4)] == [0, 0, 1, 1]
    assert pace.take("b") == 0


async def test_a_stream_ends_when_its_token_does(api: Api) -> None:
    for end in ("disable", "roles"):
        token = await make_user(api, f"u-{end}", "viewer")
        async with as_(token) as http, http.get(f"{api.url}/api/v1/events/stream") as stream:
            assert stream.status == 200
            if end == "disable":
                await api.post(f"/api/v1/users/u-{end}/disable")
            else:
                async with api.http.delete(f"{api.url}/api/v1/users/u-{end}/roles") as response:
                    assert response.status == 200
            assert await _ends(stream)


async def _ends(stream: aiohttp.ClientResponse) -> bool:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return b"event: end" in await stream.content.read()
        except aiohttp.ClientError:
            return True


async def test_a_code_opens_nothing_when_the_token_that_drew_it_is_over(api: Api) -> None:
    token = await make_user(api, "ada", "viewer")
    async with as_(token) as http, http.post(f"{api.url}/api/v1/session/code") as response:
        code = (await response.json())["code"]
    await api.post("/api/v1/users/ada/disable")
    async with aiohttp.ClientSession() as browser, browser.post(f"{api.url}/api/v1/session", json={"code": code}) as no:
        assert no.status == 401


async def test_a_code_gives_no_more_than_the_token_that_drew_it(api: Api) -> None:
    made = await api.post("/api/v1/tokens", 201, json={"label": "looks", "role": "viewer", "days": 1})
    async with as_(made["token"]) as http, http.post(f"{api.url}/api/v1/session/code") as response:
        code = (await response.json())["code"]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.post(f"{api.url}/api/v1/session", json={"code": code}) as response:
            assert (await response.json())["at_most"] == "viewer"
        async with browser.post(f"{api.url}/api/v1/workspaces", json={"name": "x"}, headers={"Origin": api.url}) as no:
            assert no.status == 403


async def test_a_client_that_never_ends_its_head_is_overdue_and_one_that_is_answered_is_not(api: Api) -> None:
    slow, now = SlowClients(), 100.0

    async def answer(request: web.Request) -> web.Response:
        assert slow.overdue(runner.server.connections, now + 1000) == []  # type: ignore[union-attr]
        return web.Response()

    app = web.Application(middlewares=[slow.note])
    app.router.add_get("/", answer)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with api.http.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200
        await api.http.close()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x")
        assert runner.server is not None
        server = runner.server
        await eventually(lambda: len(server.connections) == 1)
        connections = server.connections
        assert slow.overdue(connections, now) == [] == slow.overdue(connections, now + HEAD_S)
        assert slow.overdue(connections, now + HEAD_S + 1) == connections
        writer.close()
    finally:
        await runner.cleanup()


async def test_every_post_takes_a_key(api: Api) -> None:
    """One that reads the key refuses what cannot be one, before it looks at anything else."""
    asked = sorted({route.path for route in ROUTES if route.method == "POST"})
    assert len(asked) > 25
    for path in asked:
        url, sent = f"{api.url}{path.replace('{id}', 'nobody')}", form(CONFIG, archive()) if path in FORMS else b"{}"
        async with api.http.post(url, data=sent, headers={"Idempotency-Key": '"'}) as response:
            answer = await response.json()
            assert (response.status, [one["path"] for one in answer["errors"]]) == (400, ["Idempotency-Key"]), path


async def test_a_body_that_nobody_would_read_is_refused(api: Api) -> None:
    """Parameters sent as a body would be taken as left out: a pool's policy would go back to its defaults."""
    asked = [one for one in ROUTES if one.method != "GET" and one.body is None and one.path not in FORMS]
    assert {"POST", "PUT", "DELETE"} <= {route.method for route in asked}
    for route in asked:
        url = f"{api.url}{route.path.replace('{id}', 'nobody')}"
        async with api.http.request(route.method, url, json={"type": "fair_share"}) as response:
            answer = await response.json()
            assert (response.status, answer["errors"][0]["path"]) == (400, "body"), route.path
    assert (await api.get("/api/v1/pools"))["items"][0]["policy"]["type"] == "priority"


async def test_a_request_that_is_still_under_way_is_not_begun_again(api: Api, postgres_url: str) -> None:
    import asyncpg

    assert (await send(api, "/api/v1/workspaces", "k6", json={"name": "vision"}))[0] == 201
    connection = await asyncpg.connect(postgres_url)
    try:  # as if the first were not answered yet
        await connection.execute("UPDATE idempotency_keys SET status = NULL, headers = NULL, body = NULL")
    finally:
        await connection.close()
    url, key = f"{api.url}/api/v1/workspaces", {"Idempotency-Key": "k6"}
    async with api.http.post(url, json={"name": "vision"}, headers=key) as response:
        assert (response.status, response.headers["Retry-After"]) == (409, "1")
        assert "still under way" in (await response.json())["detail"]


async def test_who_asks_too_often_is_told_when_to_ask_again_and_nobody_else(api: Api) -> None:
    settings = dataclasses.replace(api.settings, port=free_port(), requests_per_s=1)
    url = f"http://127.0.0.1:{settings.port}/api/v1/session"
    other = (await api.post("/api/v1/tokens", 201, json={"label": "another"}))["token"]
    async with running(serve(settings)):
        await eventually(lambda: _answers(api, f"http://127.0.0.1:{settings.port}/readyz"))
        found = []
        for _ in range(4):
            async with api.http.get(url) as response:
                found.append((response.status, response.headers.get("Retry-After"), response.content_type))
        assert found[0][0] == 200 and found[-1] == (429, "1", "application/problem+json")
        async with as_(other) as http, http.get(url) as response:
            assert response.status == 200


async def _answers(api: Api, url: str) -> bool:
    try:
        async with api.http.get(url):
            return True
    except aiohttp.ClientConnectionError:
        return False
