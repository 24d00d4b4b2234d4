"""The queue over HTTP is what the scheduler says of it: real broker, real scheduler, real database."""

from typing import Any

from shared.ids import ExperimentId
from tests.gateway.conftest import Api
from tests.support.eventually import eventually
from tests.tracker import story

OTHER = ExperimentId("other000")


async def _queue(api: Api, seq: int, num_items: int, path: str = "/api/v1/queue") -> Any:
    """The queue, once it has as many items as expected and the scheduler has decided."""

    async def settled() -> Any:
        found = await api.get(path, min_seq=seq)
        kinds = [(item["detail"] or {}).get("kind") for item in found["items"]]
        return found if len(kinds) == num_items and not {None, "starting"} & set(kinds) else None

    return await eventually(settled)


async def test_the_queue_tells_who_waits_for_what_behind_whom(scheduled: Api) -> None:
    seq = await story.tell(
        scheduled.log,
        [story.agent_joined(2), story.submitted(), story.requested(1), *(story.requested(n, 2) for n in (2, 3))],
    )
    queue = await _queue(scheduled, seq, 2)
    second, third = queue["items"]
    assert (second["trial_id"], second["position"], second["experiment_name"]) == (story.trial(2), 1, "digits")
    assert second["reason"] == "needs 2 slots; 1 of 2 are free"
    assert second["detail"] == {
        "kind": "no_room", "slots": 2, "room": {"num_slots": 2, "num_free": 1, "most_free": 1}
    }  # fmt: skip
    assert second["needs"] == {"slots": 2, "num_agents": 1, "kinds": ["cpu"]}
    assert third["ahead"] == {"num_trials": 1, "num_experiments": 1, "trials": [story.trial(2)]}
    assert (third["expected_start"], "not known" in third["expected_why"]) == (None, True)
    (pool,) = queue["pools"]
    assert (pool["pool_id"], pool["num_waiting"], pool["num_free"], pool["num_agents"]) == ("default", 2, 1, 1)
    assert queue["num_waiting"] == 2 and queue["position"] is not None


async def test_the_queue_is_read_page_by_page_and_pool_by_pool(scheduled: Api) -> None:
    seq = await story.tell(
        scheduled.log, [story.agent_joined(1), story.submitted(), *map(story.requested, range(1, 6))]
    )
    first = await _queue(scheduled, seq, 3, "/api/v1/queue?limit=3")
    rest = await _queue(scheduled, seq, 1, f"/api/v1/queue?limit=3&cursor={first['next_cursor']}")
    told = [item["trial_id"] for page in (first, rest) for item in page["items"]]
    assert told == [story.trial(number) for number in (2, 3, 4, 5)]
    assert rest["next_cursor"] is None
    assert (await scheduled.get("/api/v1/queue", pool="elsewhere"))["items"] == []
    await scheduled.get("/api/v1/queue", 400, cursor="-1")


async def test_a_page_of_the_queue_is_no_offset(api: Api) -> None:
    """Nobody explains here, and who waits at the head leaves between two pages: no other is left out."""
    seq = await story.tell(api.log, [story.agent_joined(1), story.submitted(), *map(story.requested, range(1, 6))])
    first = await api.get("/api/v1/queue", min_seq=seq, limit=2)
    seq = await story.tell(api.log, [story.allocated(1), story.started(1)])
    rest = await api.get("/api/v1/queue", min_seq=seq, cursor=first["next_cursor"])
    told = [item["trial_id"] for page in (first, rest) for item in page["items"]]
    assert told == [story.trial(number) for number in range(1, 6)] and rest["next_cursor"] is None
