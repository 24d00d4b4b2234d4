"""Logins over HTTP: how often a password may be tried, what a new one ends, and what two changes at a time come to."""

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp

from services.gateway.access.access import Access
from services.gateway.access.decide import MAX_LOGINS_EACH
from services.gateway.access.patience import MAX_FAILURES
from services.gateway.access.secrets import MAX_HASHING
from shared import broker
from shared.ids import TokenId, UserId
from tests.gateway.conftest import ADMIN_TOKEN, Api
from tests.gateway.test_access import PASSWORD, as_, make_person, make_user
from tests.support.eventually import eventually
from tests.support.servers import NatsServer
from trainmaster.client import AsyncClient
from trainmaster.client.asynchronous.access import log_in

NEW = "another horse battery"


async def status_of_login(api: Api, user: str, password: str) -> int:
    login = {"user": user, "password": password}
    async with aiohttp.ClientSession() as http, http.post(f"{api.url}/api/v1/session", json=login) as response:
        return response.status


async def opens(api: Api, token: str) -> bool:
    async with as_(token) as http, http.get(f"{api.url}/api/v1/session") as response:
        assert response.status in (200, 401)
        return response.status == 200


async def test_many_guesses_at_a_time_are_not_more_than_a_few(api: Api) -> None:
    await make_person(api, "ada")
    found = await asyncio.gather(*(status_of_login(api, "ada", f"guess {number}") for number in range(12)))
    assert found.count(401) == MAX_FAILURES and found.count(429) == 12 - MAX_FAILURES
    assert await status_of_login(api, "ada", PASSWORD) == 429


async def test_only_so_many_passwords_wait_to_be_checked(api: Api) -> None:
    asked = (status_of_login(api, f"u{number}", PASSWORD) for number in range(4 * MAX_HASHING))
    found = await asyncio.gather(*asked)
    assert set(found) == {401, 503} and found.count(401) >= MAX_HASHING


async def test_a_new_password_ends_the_logins_made_with_the_former_one(api: Api) -> None:
    await make_person(api, "ada", "viewer")
    lost, own = [await log_in(api.url, "ada", PASSWORD, days=90) for _ in range(2)]
    async with AsyncClient(api.url, own) as client:
        made = (await client.access.new_token("mine", role="viewer", days=1))["token"]
        await client.access.change_password(PASSWORD, NEW)
    assert [await opens(api, token) for token in (lost, own, made)] == [False, True, True]
    await api.post("/api/v1/users/ada/password", json={"password": PASSWORD})
    assert [await opens(api, token) for token in (lost, own, made)] == [False, False, True]
    assert await status_of_login(api, "ada", NEW) == 401 and await status_of_login(api, "ada", PASSWORD) == 201


async def test_of_many_logins_the_oldest_ends_and_none_is_refused(api: Api) -> None:
    await make_person(api, "ada", "viewer")
    tokens = [await log_in(api.url, "ada", PASSWORD, days=90) for _ in range(MAX_LOGINS_EACH + 2)]
    assert [await opens(api, token) for token in (*tokens[:3], tokens[-1])] == [False, False, True, True]
    async with AsyncClient(api.url, tokens[-1]) as client:
        await client.access.new_token("mine", role="viewer", days=1)
        await client.access.log_out()
    assert not await opens(api, tokens[-1])


async def test_a_login_issues_no_token_that_outlives_it(api: Api) -> None:
    await make_person(api, "ada", "viewer")
    async with AsyncClient(api.url, await log_in(api.url, "ada", PASSWORD, days=1)) as client:
        end = (await client.access.session())["expires_at"]
        assert (await client.access.new_token("long", role="viewer", days=None))["expires_at"] == end
    refused = {"label": "t", "role": "viewer", "user": "ada"}
    assert (await api.post("/api/v1/tokens", 422, json=refused))["errors"][0]["path"] == "user"


async def test_of_many_who_create_a_user_or_change_a_role_each_is_told_the_truth(api: Api) -> None:
    async def create(number: int) -> int:
        body = {"name": "ada", "full_name": f"Ada {number}"}
        async with api.http.post(f"{api.url}/api/v1/users", json=body) as response:
            return response.status

    found = await asyncio.gather(*map(create, range(6)))
    assert sorted(found) == [201, *[409] * 5]
    assert len((await api.get("/api/v1/events", name="UserCreated"))["items"]) == 1

    async def grant(workspace: str) -> int:
        body = {"role": "viewer", "workspace": workspace}
        async with api.http.put(f"{api.url}/api/v1/users/ada/roles", json=body) as response:
            return response.status

    assert await asyncio.gather(*map(grant, ("vision", "speech"))) == [200, 200]
    user = await api.get("/api/v1/users/ada")
    assert {granted["workspace"] for granted in user["grants"]} == {"vision", "speech"}


async def test_of_two_new_passwords_at_a_time_the_one_that_was_confirmed_counts(api: Api) -> None:
    await make_person(api, "ada")

    async def change(password: str) -> tuple[int, str]:
        async with api.http.post(f"{api.url}/api/v1/users/ada/password", json={"password": password}) as response:
            return response.status, password

    found = await asyncio.gather(*(change(f"{number} horse battery") for number in range(4)))
    assert {status for status, _ in found} <= {200, 409}
    kept = [password for status, password in found if status == 200]
    fits = [await status_of_login(api, "ada", password) for password in kept]
    assert fits.count(201) == 1, found


async def test_of_two_invitations_at_a_time_the_one_that_was_told_admits(api: Api) -> None:
    async def invite() -> tuple[int, str]:
        async with api.http.post(f"{api.url}/api/v1/invitations", json={"agent": "host-1"}) as response:
            return response.status, (await response.json()).get("token", "")

    found = await asyncio.gather(*(invite() for _ in range(4)))
    told = [token for status, token in found if status == 201]
    assert told and {status for status, _ in found} <= {201, 409}
    joined = []
    for token in told:
        async with api.http.post(f"{api.url}/api/v1/join", json={"token": token, "machine": "gpu7"}) as response:
            joined.append(response.status)
    assert joined.count(201) == 1


async def test_tokens_that_are_over_are_forgotten_with_their_hashes(api: Api, nats_server: NatsServer) -> None:
    token = await make_user(api, "bot", "viewer")
    token_id = TokenId(token.split("_")[1])
    async with broker.connect(nats_server.url_as("gateway"), "gateway") as client:
        access = Access(client, ADMIN_TOKEN)
        following = asyncio.create_task(access.run())
        await eventually(lambda: token_id in access.people.tokens)
        assert await access.secrets.opens(token) == token_id
        await access.sweep(datetime.now(UTC))
        assert await access.secrets.opens(token) == token_id
        await access.sweep(datetime.now(UTC) + timedelta(days=91))
        assert token_id not in access.people.tokens and not access.people.over
        assert await access.secrets.opens(token) is None
        assert UserId("bot") in access.people.users
        following.cancel()
