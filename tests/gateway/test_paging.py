"""Lists that are at hand as a whole, page by page: each item once, in order, whatever comes and goes meanwhile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import paging
from shared.errors import Rejected
from tests.gateway.conftest import Api
from tests.gateway.test_access import make_user

NAMES = st.sets(st.text(max_size=3), max_size=12)


@given(NAMES, NAMES, st.integers(1, 5))
def test_what_stays_is_told_once_and_in_order_while_others_come_and_go(
    stay: set[str], come_and_go: set[str], limit: int
) -> None:
    told: list[str] = []
    after, is_there = None, True
    while True:
        items = stay | come_and_go if is_there else stay
        found, after = paging.part(items, lambda name: (name,), after=after, limit=limit)
        told, is_there = told + found, not is_there
        assert len(found) <= limit
        if after is None:
            break
    assert [name for name in told if name in stay] == sorted(stay)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Rejected, match="mistakes"):
        paging.part(["a"], lambda name: (name,), after="bm8", limit=1)


async def told(api: Api, path: str, key: str) -> list[str]:
    """All of a list, two by two."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await api.get(f"/api/v1/{path}?limit=2{cursor}")
        assert len(page["items"]) <= 2
        found += [item[key] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_users_tokens_and_limits_are_told_in_pages(api: Api) -> None:
    names = ["eve", "ada", "cleo", "bob", "dan"]
    for name in names:
        await make_user(api, name, "viewer")
        async with api.http.put(f"{api.url}/api/v1/limits?workspace={name}&max_slots=1") as response:
            assert response.status == 200
    async with api.http.put(f"{api.url}/api/v1/limits?max_slots=9") as response:
        assert response.status == 200
    assert await told(api, "users", "user_id") == sorted(names)
    assert await told(api, "tokens", "user_id") == names
    assert await told(api, "limits", "workspace") == [None, *sorted(names)]
    await api.get("/api/v1/users", 400, cursor="bm8")
