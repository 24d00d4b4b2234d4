"""If-Match: a change of what is not any more as it was seen does not happen."""

from collections.abc import Mapping
from typing import Any

from services.gateway.api import PREFIX
from services.gateway.routes import ROUTES
from tests.gateway.conftest import Api
from tests.gateway.test_access import make_user
from tests.tracker import story

MAKES_ANOTHER = {"/experiments/{id}/fork", "/workspaces/{id}/projects"}


def test_every_change_of_what_has_a_tag_can_be_conditional() -> None:
    shown = {route.path for route in ROUTES if route.method == "GET" and route.path.endswith("/{id}")}
    changes = [
        route
        for route in ROUTES
        if route.method != "GET" and any(route.path == one or route.path.startswith(f"{one}/") for one in shown)
    ]
    without = {route.path.removeprefix(PREFIX) for route in changes if 412 not in route.problems}
    assert len(changes) > 20 and without == MAKES_ANOTHER


async def tag(api: Api, path: str) -> str:
    async with api.http.get(f"{api.url}/api/v1{path}") as response:
        assert response.status == 200
        return response.headers["ETag"]


async def change(api: Api, method: str, path: str, known: str, **body: Any) -> int:
    """Ask for a change on the condition that a tag still holds; return the status."""
    sent: Mapping[str, Any] = {"json": body} if body else {}
    async with api.http.request(method, f"{api.url}/api/v1{path}", headers={"If-Match": known}, **sent) as response:
        return response.status


async def twice(api: Api, shown: str, method: str, path: str, **body: Any) -> None:
    """Of two who saw the same and change it, the second one is refused, and may once it has looked again."""
    known = await tag(api, shown)
    assert await change(api, method, path, known, **body) == 200
    assert await change(api, method, path, known, **body) == 412
    assert await change(api, method, path, await tag(api, shown), **body) in (200, 409)
    assert await change(api, method, path, '"of another kind"', **body) == 400


async def test_who_changes_what_somebody_else_changed_meanwhile_is_refused(api: Api) -> None:
    experiment = (await api.submit())["id"]
    place = (await api.post("/api/v1/workspaces", 201, json={"name": "vision"}))["id"]
    project = (await api.post(f"/api/v1/workspaces/{place}/projects", 201, json={"name": "digits"}))["id"]
    await make_user(api, "ada", "viewer")
    one = f"/experiments/{experiment}"
    await twice(api, one, "POST", f"{one}/queue?priority=7")
    await twice(api, one, "POST", f"{one}/search?max_trials=3")
    await twice(api, one, "POST", f"{one}/pause")
    await twice(api, f"/workspaces/{place}", "PATCH", f"/workspaces/{place}", description="what sees")
    await twice(api, f"/workspaces/{place}", "POST", f"/workspaces/{place}/archive")
    await twice(api, f"/projects/{project}", "PATCH", f"/projects/{project}", description="MNIST")
    await twice(api, "/users/ada", "PUT", "/users/ada/roles", role="editor", workspace="vision")
    await twice(api, "/users/ada", "POST", "/users/ada/disable")
    found = await api.get("/api/v1/workspaces")
    assert [item["description"] for item in found["items"] if item["id"] == place] == ["what sees"]


async def test_a_trial_that_went_on_meanwhile_is_not_canceled(api: Api) -> None:
    seq = await story.tell(api.log, [story.agent_joined(), story.submitted(), story.requested()])
    shown = f"/trials/{story.trial(1)}"
    known = await tag(api, f"{shown}?min_seq={seq}")
    seq = await story.tell(api.log, [story.allocated(), story.started()])
    await api.get(f"/api/v1{shown}?min_seq={seq}")
    assert await change(api, "POST", f"{shown}/cancel", known) == 412
