"""What comes too slowly or is too long is refused, at every door, and nothing of it is done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from services.gateway import api as gateway_api
from services.gateway.routes import submit
from shared import log, subjects
from tests.gateway.conftest import CONFIG, Api, archive, form
from tests.gateway.test_access import as_, make_user
from tests.tracker import story

SUBMITTED = subjects.event_filter("gateway", "experiment", name="ExperimentSubmitted")
LIMIT = 256  # characters of a workspace's name


async def slowly(api: Api, path: str, begin: bytes, content_type: str) -> Any:
    """Return the answer to a POST whose body begins and then never goes on."""
    never = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield begin
        await never.wait()

    headers = {"Content-Type": content_type}
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(headers=api.http.headers) as http,
        http.post(f"{api.url}{path}", data=body(), headers=headers) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_submission_that_comes_too_slowly_is_refused_and_leaves_its_turn_to_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = b'--b\r\nContent-Disposition: form-data; name="config"; filename="x"\r\n\r\n' + CONFIG.encode()
    with monkeypatch.context() as patched:
        patched.setattr(submit, "UPLOAD_TIMEOUT_S", 0.2)
        form_type = "multipart/form-data; boundary=b"
        sent = (slowly(api, "/api/v1/experiments", begin, form_type) for _ in range(2 * submit.MAX_AT_ONCE))
        answers = await asyncio.gather(*sent)
    assert {status for status, _ in answers} == {408}
    assert all("did not come within 0.2 s" in answer["detail"] and answer["status"] == 408 for _, answer in answers)
    assert await log.last_of(api.log, SUBMITTED) is None
    assert (await api.submit())["name"] == "digits"


async def test_slow_submissions_of_one_user_leave_turns_for_others(api: Api) -> None:
    begun, never = asyncio.Semaphore(0), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        begun.release()
        await never.wait()

    async def submit_slowly(http: aiohttp.ClientSession) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        async with http.post(f"{api.url}/api/v1/experiments", data=body(), headers=headers):
            pass

    async with as_(await make_user(api, "ada", "editor")) as http:
        slow = [asyncio.create_task(submit_slowly(http)) for _ in range(submit.MAX_AT_ONCE)]
        async with asyncio.timeout(20):
            for _ in slow:
                await begun.acquire()
            for _ in range(8):  # the first may come before the slow ones are known for whose they are
                assert (await api.submit())["name"] == "digits"
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)


async def test_a_body_that_comes_too_slowly_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_api, "BODY_S", 0.2)
    status, answer = await slowly(api, "/api/v1/workspaces", b'{"name": "vis', "application/json")
    assert (status, answer["status"]) == (408, 408) and "did not come within 0.2 s" in answer["detail"]
    status, answer = await slowly(api, "/api/2.0/mlflow/experiments/create", b'{"name": "vis', "application/json")
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")  # as MLflow's clients read it
    assert "did not come within 0.2 s" in answer["message"]


Door = Callable[[Api, str], Awaitable[tuple[int, str]]]  # -> the status, and what the answer says


def _json(method: str, path: str, body: Callable[[str], dict[str, object]]) -> Door:
    async def ask(api: Api, name: str) -> tuple[int, str]:
        async with api.http.request(method, f"{api.url}/api/v1{path}", json=body(name)) as response:
            return response.status, await response.text()

    return ask


async def _limit(api: Api, name: str) -> tuple[int, str]:
    async with api.http.put(f"{api.url}/api/v1/limits", params={"workspace": name, "max_slots": "2"}) as response:
        return response.status, await response.text()


async def _submit(api: Api, name: str) -> tuple[int, str]:
    data = form(f"{CONFIG}workspace: {name}\n", archive())
    async with api.http.post(f"{api.url}/api/v1/experiments", data=data) as response:
        return response.status, await response.text()


async def _mlflow(api: Api, name: str) -> tuple[int, str]:
    url, headers = f"{api.url}/api/2.0/mlflow/experiments/create", {"X-MLFLOW-WORKSPACE": name}
    async with api.http.post(url, json={"name": "digits"}, headers=headers) as response:
        return response.status, await response.text()


DOORS = {
    "made": _json("POST", "/workspaces", lambda name: {"name": name}),
    "granted": _json("PUT", "/users/ada/roles", lambda name: {"role": "viewer", "workspace": name}),
    "limited": _limit,
    "moved to": _json("POST", f"/experiments/{story.EXPERIMENT}/move", lambda name: {"workspace": name}),
    "moved to, many": _json(
        "POST", "/experiments/bulk", lambda name: {"action": "move", "ids": [story.EXPERIMENT], "workspace": name}
    ),
    "submitted to": _submit,
    "tracked in": _mlflow,
}


@pytest.mark.parametrize("door", DOORS)
async def test_a_workspaces_name_has_so_many_characters_at_most(api: Api, door: str) -> None:
    seq = await story.tell(api.log, story.whole_search())
    await api.get(f"/api/v1/experiments/{story.EXPERIMENT}", min_seq=seq)
    await api.post("/api/v1/users", 201, json={"name": "ada"})
    status, said = await DOORS[door](api, "w" * (LIMIT + 1))
    assert status in {400, 422} and str(LIMIT) in said, said
    status, said = await DOORS[door](api, "w" * LIMIT)
    assert status in {200, 201}, said
