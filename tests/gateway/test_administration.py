"""Agents, pools and limits over HTTP: what is set is on the log and shown at once; nonsense is refused."""

from typing import Any

from shared import codec, log, subjects
from shared.events import AgentDrainRequested, Event, LimitSet, PoolConfigured, SlotFault, SlotRecovered, SlotUnhealthy
from tests.gateway.conftest import CONFIG, Api
from tests.tracker import story


async def last(api: Api, aggregate: str) -> Event:
    message = await log.last_of(api.log, f"tm.gateway.{aggregate}.>")
    assert message is not None
    event = codec.decode(message.body).event
    assert event is not None
    return event


async def with_agent(api: Api, num_slots: int = 2) -> None:
    seq = await story.tell(api.log, [story.agent_joined(num_slots=num_slots)])
    await api.get("/api/v1/agents", min_seq=seq)


async def put(api: Api, path: str, status: int = 200, **query: object) -> object:
    parameters = {name: str(value) for name, value in query.items()}
    async with api.http.put(f"{api.url}{path}", params=parameters) as response:
        assert response.status == status, await response.text()
        return await response.json(content_type=None)


async def test_an_agent_is_drained_disabled_and_enabled(api: Api) -> None:
    await with_agent(api)
    agent = await api.post("/api/v1/agents/a1/drain", params={"grace_s": "600"})
    assert agent["availability"] == "DRAINING" and agent["ends_at"] is not None
    assert await last(api, "agent") == AgentDrainRequested(agent_id=story.AGENT, grace_s=600.0)
    (pool,) = (await api.get("/api/v1/pools"))["items"]
    assert (pool["slots"], pool["closed"]) == (2, 2)
    agent = await api.post("/api/v1/agents/a1/disable", params={"slots": "1"})
    assert [slot["availability"] for slot in agent["slots"]] == ["ENABLED", "DISABLED"]
    agent = await api.post("/api/v1/agents/a1/enable")
    assert agent["availability"] == "ENABLED" and agent["ends_at"] is None
    (pool,) = (await api.get("/api/v1/pools"))["items"]
    assert pool["closed"] == 1, "the single slot is enabled by itself"


async def test_an_unhealthy_gpu_is_shown_with_the_reason_until_its_slot_is_enabled(api: Api) -> None:
    await with_agent(api)
    fault = SlotUnhealthy(
        agent_id=story.AGENT, incarnation=story.INCARNATION, slot=1, fault=SlotFault.XID, detail="XID 79"
    )
    seq = await story.tell(api.log, [fault])
    (agent,) = (await api.get("/api/v1/agents", min_seq=seq))["items"]
    assert [slot["unhealthy"] for slot in agent["slots"]] == [None, "critical error told by the driver (XID 79)"]
    (pool,) = (await api.get("/api/v1/pools"))["items"]
    assert pool["closed"] == 1
    why = await api.get(f"/api/v1/agents/{story.AGENT}/why")
    assert "slot 1 is unhealthy: critical error told by the driver (XID 79)" in why["head"]
    agent = await api.post("/api/v1/agents/a1/enable", params={"slots": "1"})
    assert [slot["unhealthy"] for slot in agent["slots"]] == [None, None]
    await story.tell(api.log, [fault])
    recovered = SlotRecovered(agent_id=story.AGENT, incarnation=story.INCARNATION, slot=1)
    seq = await story.tell(api.log, [recovered])
    (agent,) = (await api.get("/api/v1/agents", min_seq=seq))["items"]
    assert [slot["unhealthy"] for slot in agent["slots"]] == [None, None]


async def test_unknown_agents_and_slots_are_refused_with_the_known_ones(api: Api) -> None:
    await with_agent(api)
    assert "known agents: a1" in (await api.post("/api/v1/agents/zz/drain", 404))["detail"]
    problem = await api.post("/api/v1/agents/a1/disable", 422, params={"slots": "0,7"})
    assert problem["errors"][0]["message"] == "agent a1 has no slot 7"
    assert problem["errors"][0]["suggestion"] == "its slots: 0, 1"
    for query in ({"grace_s": "-1"}, {"slots": "a"}, {"grace_s": "nan"}):
        await api.post("/api/v1/agents/a1/drain", 400, params=query)
    assert await log.last_of(api.log, subjects.event_filter("gateway", "agent")) is None


async def test_a_pool_is_given_a_policy_of_its_own(api: Api) -> None:
    (before,) = (await api.get("/api/v1/pools"))["items"]
    assert not before["is_configured"] and before["policy"]["type"] == "priority"
    asked: dict[str, Any] = {"type": "fair_share", "fitting": "worst", "reserve_after_s": 600, "default_priority": 50}
    shown = await put(api, "/api/v1/pools/h200", **asked)
    event = await last(api, "pool")
    assert isinstance(event, PoolConfigured) and event.policy.preemption and event.policy.default_priority == 50
    assert isinstance(shown, dict) and shown["policy"] == {**asked, "preemption": True, "heterogeneous_fits": False}
    assert [pool["id"] for pool in (await api.get("/api/v1/pools"))["items"]] == ["default", "h200"]
    submitted = await api.submit(f"{CONFIG}\nresources: {{resource_pool: h200}}")
    assert (submitted["pool"], submitted["priority"]) == ("h200", 50)
    for wrong in ({"type": "lottery"}, {"default_priority": 0}, {"reserve_after_s": "nan"}, {"colour": "red"}):
        await put(api, "/api/v1/pools/h200", 400, **wrong)


async def test_limits_hold_at_submission_and_for_changes(api: Api) -> None:
    await put(api, "/api/v1/limits", best_priority=10)
    await put(api, "/api/v1/limits", workspace="vision", max_slots=2, best_priority=30)
    assert await last(api, "limit") == LimitSet(
        limit_id=(await last(api, "limit")).aggregate_id,  # type: ignore[arg-type] # it is one
        workspace="vision", max_slots=2, best_priority=30,
    )  # fmt: skip
    problem = await api.submit(
        f"{CONFIG}\nworkspace: vision\nresources: {{slots_per_trial: 3, priority: 5}}", status=422
    )
    assert [error["path"] for error in problem["errors"]] == ["resources.slots_per_trial", "resources.priority"]
    path = f"/api/v1/experiments/{(await api.submit())['id']}/queue"
    refused = await api.post(path, 422, params={"priority": "9"})
    assert "the best that an experiment without a workspace may use" in refused["errors"][0]["message"]
    assert (await api.post(path, params={"priority": "10"}))["priority"] == 10
    shown = (await api.get("/api/v1/limits"))["items"]
    assert [(limit["workspace"], limit["max_slots"], limit["held"]) for limit in shown] == [
        (None, None, None),
        ("vision", 2, 0),
    ]
    await put(api, "/api/v1/limits", 400)
    async with api.http.delete(f"{api.url}/api/v1/limits", params={"workspace": "vision"}) as response:
        assert [limit["workspace"] for limit in (await response.json())["items"]] == [None]
    async with api.http.delete(f"{api.url}/api/v1/limits", params={"workspace": "vision"}) as response:
        assert response.status == 404


async def test_an_experiment_moves_to_a_pool_that_can_hold_it(api: Api) -> None:
    await with_agent(api)
    await put(api, "/api/v1/pools/spare")
    path = f"/api/v1/experiments/{(await api.submit())['id']}/queue"
    assert "known pools: default, spare" in str(await api.post(path, 422, params={"pool": "nowhere"}))
    assert (await api.post(path, params={"pool": "spare"}))["pool"] == "spare"
    assert "already" in (await api.post(path, 409, params={"pool": "spare"}))["detail"]


async def test_moving_beside_another_takes_its_priority_and_only_within_a_pool(api: Api) -> None:
    await put(api, "/api/v1/pools/spare")
    one = await api.submit(f"{CONFIG}\nresources: {{priority: 7}}")
    other = await api.submit()
    far = await api.submit(f"{CONFIG}\nresources: {{resource_pool: spare}}")
    path = f"/api/v1/experiments/{other['id']}/queue"
    assert (await api.post(path, params={"ahead_of": one["id"]}))["priority"] == 7
    assert "different queues" in (await api.post(path, 409, params={"behind": far["id"]}))["detail"]
