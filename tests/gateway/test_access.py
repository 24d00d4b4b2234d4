"""The gateway asks who it is: tokens, logins and roles over HTTP, for every route."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from services.gateway.access.access import COOKIE
from services.gateway.access.permit import RULES, Scope, rule_of
from services.gateway.access.permit import _segment as segment
from services.gateway.api import PREFIX, Route
from services.gateway.routes import ROUTES
from shared.events import Role
from tests.gateway.conftest import AS_ADMIN, Api
from tests.support.eventually import PATIENCE_S
from tests.tracker import story

PASSWORD = "correct horse battery"
ROLES = [None, *Role]
LETS_IN = (("POST", f"{PREFIX}/session"), ("POST", f"{PREFIX}/join"))
TOO_LONG = ("text/event-stream", "application/octet-stream", "application/x-tar")


async def make_user(api: Api, name: str, role: str | None = None, workspace: str | None = None) -> str:
    """Create a service account; return a token that allows all that it may."""
    await api.post("/api/v1/users", 201, json={"name": name, "is_service": True})
    if role is not None:
        body = {"role": role, "workspace": workspace}
        async with api.http.put(f"{api.url}/api/v1/users/{name}/roles", json=body) as response:
            assert response.status == 200, await response.text()
    made = await api.post("/api/v1/tokens", 201, json={"label": "t", "role": "admin", "user": name})
    return str(made["token"])


async def make_person(api: Api, name: str, role: str | None = None, workspace: str | None = None) -> None:
    """Create a user with PASSWORD."""
    await api.post("/api/v1/users", 201, json={"name": name})
    await api.post(f"/api/v1/users/{name}/password", json={"password": PASSWORD})
    if role is not None:
        async with api.http.put(
            f"{api.url}/api/v1/users/{name}/roles", json={"role": role, "workspace": workspace}
        ) as response:
            assert response.status == 200, await response.text()


@contextlib.asynccontextmanager
async def as_(token: str | None) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield session


async def status_of(http: aiohttp.ClientSession, api: Api, route: Route, path: str) -> int:
    async with http.request(route.method, f"{api.url}{path}") as response:
        return response.status


async def test_nobody_unknown_gets_an_answer_from_the_api(api: Api) -> None:
    async with as_(None) as nobody, as_("tm_0123456789ab_guess") as guesser:
        for route in ROUTES:
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            if not path.startswith(PREFIX) or (route.method, path) in LETS_IN:
                continue
            assert await status_of(nobody, api, route, path) == 401, route
            assert await status_of(guesser, api, route, path) == 401, route
        async with nobody.get(f"{api.url}/api/v1/experiments") as response:
            assert "Bearer" in response.headers["WWW-Authenticate"]
        for path in ("/", "/healthz", "/openapi.json"):
            async with nobody.get(f"{api.url}{path}") as response:
                assert response.status == 200


def test_every_route_has_a_row_in_the_table() -> None:
    segments = {segment(route.path) for route in ROUTES if route.path.startswith("/api/")}
    assert segments | {"mlflow"} == set(RULES), "a route without a row, or a row without a route"


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_may_do_on_each_route_what_its_rule_says_and_no_more(api: Api, role: Role | None) -> None:
    await story.tell(api.log, story.whole_search())
    token = await make_user(api, "someone", role)
    order = list(Role)
    async with as_(token) as http:
        for route in ROUTES:
            rule, is_look = rule_of(route), route.method == "GET"
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            if not path.startswith(PREFIX) or rule.scope is Scope.SELF or route.answer in TOO_LONG:
                continue
            needed = rule.look if is_look else rule.change
            is_allowed = role is not None and order.index(role) >= order.index(needed)
            found = await status_of(http, api, route, path)
            refused = (403, 404) if rule.scope is Scope.WORKSPACE and "{id}" in route.path else (403,)
            assert (found not in (401, 403)) if is_allowed else (found in refused), (route, role, found)


async def test_a_workspace_is_closed_to_those_who_have_no_role_there(api: Api) -> None:
    config = "{name: x, entrypoint: python train.py, workspace: vision, searcher: {name: single, metric: loss}}"
    submitted = await api.submit(config)
    insider = await make_user(api, "insider", "editor", "vision")
    outsider = await make_user(api, "outsider", "editor", "speech")
    path = f"{api.url}/api/v1/experiments"
    async with as_(insider) as http:
        async with http.get(f"{path}/{submitted['id']}") as response:
            assert response.status == 200
        assert await ids(http, path) == [submitted["id"]]
        async with http.post(f"{path}/{submitted['id']}/pause") as response:
            assert response.status == 200
        async with http.get(f"{api.url}/api/v1/events/raw") as response:
            assert response.status == 403
    async with as_(outsider) as http:
        async with http.get(f"{path}/{submitted['id']}") as response:
            assert response.status == 404
        assert await ids(http, path) == []
        async with http.post(f"{path}/{submitted['id']}/cancel") as response:
            assert response.status == 404
    paused = await api.get("/api/v1/events", name="ExperimentPaused")
    assert [item["actor"] for item in paused["items"]] == ["insider"]


async def test_who_may_not_read_the_log_is_told_what_changes_where_they_may_look(api: Api) -> None:
    config = "{name: x, entrypoint: python train.py, workspace: %s, searcher: {name: single, metric: loss}}"
    theirs = await api.submit(config % "vision")
    other = await api.submit(config % "speech")
    joined = await story.tell(api.log, [story.agent_joined()])
    insider = await make_user(api, "insider", "viewer", "vision")
    found: list[Any] = []
    path = f"{api.url}/api/v1/status/changes?after=0"
    async with asyncio.timeout(PATIENCE_S), as_(insider) as http, http.get(path) as response:
        assert response.status == 200
        async for line in response.content:
            found += [json.loads(line[6:])] if line.startswith(b"data: ") else []
            if found and found[-1]["seq"] == joined:
                break
    assert [(item["name"], item["correlation"]) for item in found] == [
        ("ExperimentSubmitted", theirs["id"]), ("AgentJoined", "")
    ]  # fmt: skip
    assert other["id"] not in json.dumps(found) and found[0]["event"] == {"experiment_id": theirs["id"]}


async def test_what_all_workspaces_share_is_not_changed_with_a_role_in_one(api: Api) -> None:
    await story.tell(api.log, story.whole_search())
    chief = await make_user(api, "chief", "admin", "vision")
    asked = [
        ("PUT", "/api/v1/limits?workspace=vision&max_slots=1000"),
        ("DELETE", "/api/v1/limits?workspace=vision"),
        ("PUT", "/api/v1/pools/default?type=fifo"),
        ("POST", "/api/v1/agents/x/drain"),
    ]
    async with as_(chief) as http:
        for method, path in asked:
            async with http.request(method, f"{api.url}{path}") as response:
                assert response.status == 403, path
                assert "everywhere" in (await response.json())["detail"], path
        for path in ("/api/v1/limits", "/api/v1/pools", "/api/v1/agents"):
            async with http.get(f"{api.url}{path}") as response:
                assert response.status == 200


async def test_an_experiment_is_moved_only_beside_one_that_the_mover_may_see(api: Api) -> None:
    config = "{{name: x, entrypoint: python train.py, workspace: {}, searcher: {{name: single, metric: loss}}}}"
    own, other = [(await api.submit(config.format(name)))["id"] for name in ("vision", "speech")]
    insider = await make_user(api, "insider", "editor", "vision")
    async with as_(insider) as http:
        for beside, found in ((other, 404), ("nosuch", 404)):
            async with http.post(f"{api.url}/api/v1/experiments/{own}/queue?ahead_of={beside}") as response:
                assert response.status == found


async def ids(http: aiohttp.ClientSession, path: str) -> list[str]:
    async with http.get(path) as response:
        page: dict[str, Any] = await response.json()
        return [item["id"] for item in page["items"]]


async def test_a_browser_logs_in_with_a_password_and_out_again(api: Api) -> None:
    await make_person(api, "ada", "viewer")
    jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address in numbers
    own_page = {"Origin": api.url}
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        for wrong in ({"user": "ada", "password": "wrong"}, {"user": "nobody", "password": PASSWORD}, {"code": "x"},
                      {"user": "ada@example.org", "password": PASSWORD}):  # fmt: skip
            async with browser.post(f"{api.url}/api/v1/session", json=wrong) as response:
                assert response.status == 401
        login = {"user": "ada", "password": PASSWORD}
        async with browser.post(f"{api.url}/api/v1/session", json=login) as response:
            assert response.status == 201
            cookie = response.cookies[COOKIE]
            assert cookie["httponly"] and cookie["samesite"] == "Strict"
        async with browser.get(f"{api.url}/api/v1/session") as response:
            assert (await response.json())["user_id"] == "ada"
        async with browser.delete(f"{api.url}/api/v1/session") as response:
            assert response.status == 403, "without an Origin it may be another site's doing"
        async with browser.delete(f"{api.url}/api/v1/session", headers=own_page) as response:
            assert response.status == 200
        async with browser.get(f"{api.url}/api/v1/session", headers={"Cookie": f"{COOKIE}={cookie.value}"}) as response:
            assert response.status == 401, "the token itself is over"


async def test_a_token_of_bytes_that_no_token_has_opens_nothing(api: Api) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()


async def test_a_code_opens_a_login_once(api: Api) -> None:
    code = (await api.post("/api/v1/session/code", 201))["code"]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.post(f"{api.url}/api/v1/session", json={"code": code}) as response:
            assert response.status == 201
        async with browser.get(f"{api.url}/api/v1/session") as response:
            assert (await response.json())["user_id"] == "admin"
        again = browser.post(f"{api.url}/api/v1/session", json={"code": code}, headers={"Origin": api.url})
        async with again as response:
            assert response.status == 401


async def test_a_password_cannot_be_guessed_for_long(api: Api) -> None:
    guess = {"user": "ada", "password": "wrong"}
    statuses = []
    for _ in range(7):
        async with api.http.post(f"{api.url}/api/v1/session", json=guess) as response:
            statuses.append(response.status)
    assert statuses[0] == 401 and statuses[-1] == 429


async def test_a_revoked_token_and_a_disabled_user_are_out_at_once(api: Api) -> None:
    token = await make_user(api, "ada", "viewer")
    async with as_(token) as http:
        async with http.get(f"{api.url}/api/v1/session") as response:
            assert response.status == 200
        await api.post("/api/v1/users/ada/disable")
        async with http.get(f"{api.url}/api/v1/session") as response:
            assert response.status == 401
        await api.post("/api/v1/users/ada/enable")
        async with api.http.delete(f"{api.url}/api/v1/tokens/{token.split('_')[1]}") as response:
            assert response.status == 200
        async with http.get(f"{api.url}/api/v1/session") as response:
            assert response.status == 401


async def test_no_secret_is_on_the_log_or_in_an_answer(api: Api) -> None:
    token = await make_user(api, "bot", "viewer")
    await make_person(api, "ada", "viewer")
    secret = token.split("_", 2)[2]
    for path in ("/api/v1/events?limit=500", "/api/v1/users", "/api/v1/tokens", "/api/v1/events/raw"):
        async with api.http.get(f"{api.url}{path}", headers=AS_ADMIN) as response:
            body = await response.read()
            assert secret.encode() not in body and PASSWORD.encode() not in body and b"argon2" not in body


async def test_a_password_is_kept_as_argon2id_and_a_token_as_its_hash(api: Api) -> None:
    await make_person(api, "ada", "viewer")
    token = await make_user(api, "bot", "viewer")
    bucket = await api.log.jetstream().key_value("SECRETS")
    kept = [(await bucket.get(key)).value or b"" for key in await bucket.keys()]
    assert sum(value.find(b"$argon2id$v=19$") >= 0 for value in kept) == 1
    assert not any(secret.encode() in value for value in kept for secret in (PASSWORD, token.split("_", 2)[2]))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_browser_behind_https_gives_its_cookie_to_nobody_in_the_clear(api: Api, scheme: str) -> None:
    await make_person(api, "ada", "viewer")
    login, headers = {"user": "ada", "password": PASSWORD}, {"X-Forwarded-Proto": scheme}
    url = f"{api.url}/api/v1/session"
    async with aiohttp.ClientSession() as browser, browser.post(url, json=login, headers=headers) as response:
        assert bool(response.cookies[COOKIE]["secure"]) == (scheme == "https")


async def test_every_mistake_in_a_body_is_named(api: Api) -> None:
    answer = await api.post("/api/v1/tokens", 422, json={"role": "emperor", "days": 0, "colour": "red"})
    assert {error["path"] for error in answer["errors"]} == {"label", "role", "days", "colour"}
    assert (await api.post("/api/v1/tokens", 400, data=b"{"))["status"] == 400
    assert (await api.post("/api/v1/tokens", 413, data=b'{"label": "' + b"x" * 70_000 + b'"}'))["status"] == 413
