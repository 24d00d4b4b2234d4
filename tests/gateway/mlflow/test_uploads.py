"""Uploads: not too many at a time, and no half of one is ever seen."""

import asyncio
import contextlib
import io

import pytest

from services.gateway.turns import MAX_WAITING, MAX_WAITING_EACH, Turns
from shared.errors import Rejected
from shared.ids import UserId
from tests.gateway.conftest import ADMIN_TOKEN, Api
from tests.gateway.mlflow.test_operations import API, FILES, begin
from tests.support.eventually import PATIENCE_S, eventually

MAX_UPLOADS, MAX_EACH = 8, 4
ADA, BOB, EVE = UserId("ada"), UserId("bob"), UserId("eve")


def new_turns() -> Turns:
    return Turns("uploads", most=MAX_UPLOADS, each=MAX_EACH)


async def hold(turns: Turns, user_id: UserId, held: list[UserId], end: asyncio.Event) -> None:
    async with turns.place(user_id):
        held.append(user_id)
        await end.wait()


async def test_one_user_leaves_places_for_others_and_the_rest_waits() -> None:
    turns, end = new_turns(), asyncio.Event()
    held: list[UserId] = []
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        for user_id in [ADA] * (MAX_EACH + 3) + [BOB] * (MAX_UPLOADS - MAX_EACH) + [EVE]:
            tasks.create_task(hold(turns, user_id, held, end))
        await eventually(lambda: len(held) == MAX_UPLOADS)
        assert held.count(ADA) == MAX_EACH and EVE not in held
        end.set()
    assert len(held) == MAX_UPLOADS + 4


async def test_only_so_many_of_one_user_wait_and_others_are_served_meanwhile() -> None:
    turns, end = new_turns(), asyncio.Event()
    held: list[UserId] = []
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        for _ in range(MAX_EACH + MAX_WAITING_EACH):
            tasks.create_task(hold(turns, ADA, held, end))
        await eventually(lambda: len(held) == MAX_EACH)
        with pytest.raises(Rejected, match="uploads of yours wait") as refused:
            await hold(turns, ADA, held, end)
        assert refused.value.status == 503
        tasks.create_task(hold(turns, BOB, held, end))
        await eventually(lambda: BOB in held)
        end.set()
    assert len(held) == MAX_EACH + MAX_WAITING_EACH + 1


async def test_only_so_many_wait_and_who_has_room_need_not() -> None:
    turns, end, bobs = new_turns(), asyncio.Event(), asyncio.Event()
    held: list[UserId] = []
    waiting = [UserId(f"user-{number}") for number in range(MAX_WAITING)]
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        for user_id in [ADA] * MAX_EACH + [EVE] * (MAX_UPLOADS - MAX_EACH) + waiting:
            tasks.create_task(hold(turns, user_id, held, end))
        await eventually(lambda: len(held) == MAX_UPLOADS)
        with pytest.raises(Rejected, match="64 uploads wait"):
            await hold(turns, BOB, held, bobs)
        end.set()
        await eventually(lambda: len(held) == MAX_UPLOADS + MAX_WAITING)
        tasks.create_task(hold(turns, BOB, held, bobs))
        await eventually(lambda: BOB in held)
        bobs.set()


async def test_a_file_that_breaks_off_is_not_there(api: Api) -> None:
    experiment_id, run_id = await begin(api)
    host, port = api.settings.host, api.settings.port
    for sent in (b"half of it", b"x" * 9_000_000):
        _, writer = await asyncio.open_connection(host, port)
        lines = (
            f"PUT {FILES}/{experiment_id}/{run_id}/artifacts/file HTTP/1.1",
            f"Host: {host}:{port}",
            f"Authorization: Bearer {ADMIN_TOKEN}",
            "Content-Length: 20000000",
        )
        writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
        await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    body = io.BytesIO(b"y" * 9_000_000)
    async with api.http.put(f"{api.url}{FILES}/{experiment_id}/{run_id}/artifacts/other", data=body) as response:
        assert response.status == 200
    listed = await api.get(f"{API}/artifacts/list", run_id=run_id)
    assert [file["path"] for file in listed["files"]] == ["other"]
