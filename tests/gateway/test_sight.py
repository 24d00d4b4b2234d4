"""Who has a role in one workspace sees the events of its experiments, whole and as they come, and no others."""

import asyncio

from shared.events import ExperimentMoved
from shared.ids import ExperimentId
from tests.gateway.conftest import Api
from tests.gateway.test_access import as_, make_user
from tests.tracker import story
from trainmaster.client import AsyncClient
from trainmaster.client.shapes import EventItem

CONFIG = "{{name: {0}, entrypoint: python train.py, workspace: {0}, searcher: {{name: single, metric: loss}}}}"


async def followed(client: AsyncClient, query: dict[str, str | int | None], last: str) -> list[EventItem]:
    """What the stream of events tells up to the first event of this name."""
    told = []
    async with asyncio.timeout(20):
        async for event in client.follow_events(query):
            told.append(event)
            if event["name"] == last:
                break
    return told


async def test_with_a_role_in_one_workspace_an_experiment_is_followed_to_its_end(api: Api) -> None:
    token = await make_user(api, "insider", "editor", "vision")
    own, other = [(await api.submit(CONFIG.format(name)))["id"] for name in ("vision", "speech")]
    async with AsyncClient(api.url, token) as client:
        await client.cancel(own)
        told = await followed(client, {"experiment": own, "after": 0}, "ExperimentCanceled")  # what `tm run` asks
        assert [event["name"] for event in told] == ["ExperimentSubmitted", "ExperimentCanceled"]
        await api.post(f"/api/v1/experiments/{other}/cancel")
        third = await api.submit(CONFIG.format("vision"))
        told = await followed(client, {"after": 0}, "ExperimentCanceled")  # the page's live stream
        assert {event["event"]["experiment_id"] for event in told} == {own}
    async with as_(token) as http, http.get(f"{api.url}/api/v1/events?limit=1000") as response:
        page = await response.json()
    assert {item["correlation"] for item in page["items"]} == {own, third["id"]}
    assert page["at_head"]


async def test_no_filter_shows_an_experiment_of_another_workspace(api: Api) -> None:
    await story.tell(api.log, story.whole_search())
    token = await make_user(api, "insider", "viewer", "vision")
    queries = (f"experiment={story.EXPERIMENT}", f"trial={story.trial()}", "experiment=nosuch", "trial=nosuch-1")
    async with as_(token) as http:
        for query in queries:
            for path in ("events", "events/stream"):
                async with http.get(f"{api.url}/api/v1/{path}?{query}") as response:
                    assert response.status == 404, (path, query)
        for query in ("writer=scheduler", "name=TokenIssued", "name=TrialRequested", "writer=gateway"):
            async with http.get(f"{api.url}/api/v1/events?{query}") as response:
                assert (await response.json())["items"] == [], query
        async with http.get(f"{api.url}/api/v1/events/raw") as response:
            assert response.status == 403


async def test_an_experiment_that_moves_away_goes_out_of_sight(api: Api) -> None:
    token = await make_user(api, "insider", "editor", "vision")
    own = (await api.submit(CONFIG.format("vision")))["id"]
    async with as_(token) as http:
        async with http.get(f"{api.url}/api/v1/events") as response:
            assert [item["name"] for item in (await response.json())["items"]] == ["ExperimentSubmitted"]
        moved = ExperimentMoved(experiment_id=ExperimentId(own), workspace="speech", project="")
        seq = await story.tell(api.log, [moved])
        await api.get(f"/api/v1/experiments/{own}", min_seq=seq)
        async with http.get(f"{api.url}/api/v1/events") as response:
            assert (await response.json())["items"] == []


async def test_what_has_moved_away_is_out_of_sight_in_the_past_too(api: Api) -> None:
    """Who has a role where it was may not look there by asking for then; who has one where it is may."""
    tokens = {name: await make_user(api, f"of-{name}", "viewer", name) for name in ("vision", "speech")}
    own = (await api.submit(CONFIG.format("vision")))["id"]
    then = await story.tell(api.log, [story.requested(experiment_id=ExperimentId(own))])
    moved = ExperimentMoved(experiment_id=ExperimentId(own), workspace="speech", project="")
    seq = await story.tell(api.log, [moved])
    await api.get(f"/api/v1/experiments/{own}", min_seq=seq)
    for name, is_seen in (("vision", False), ("speech", True)):
        async with as_(tokens[name]) as http:
            for query in (f"as_of={then}", f"as_of={then}&filter=name=vision", f"as_of={seq}&show=all"):
                async with http.get(f"{api.url}/api/v1/experiments?{query}") as response:
                    found = [item["id"] for item in (await response.json())["items"]]
                assert found == ([own] if is_seen else []), (name, query)
            async with http.get(f"{api.url}/api/v1/queue?as_of={then}") as response:
                (waiting,) = (await response.json())["items"]
            assert waiting["experiment_name"] == ("vision" if is_seen else ""), name
            async with http.get(f"{api.url}/api/v1/experiments/{own}?as_of={then}") as response:
                assert response.status == (200 if is_seen else 404)
