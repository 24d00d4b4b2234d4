"""The broker enforces who may say what: a user's permissions are tried against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from shared import broker, log, subjects
from shared.events import AgentJoined
from shared.ids import AgentId, PoolId
from tests.support.eventually import eventually
from tests.support.servers import NatsServer

ANSWER_TIMEOUT_S = 2.0


@pytest.fixture
async def agent(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection as agent a1."""
    async with broker.connect(nats_server.url_as("worker-a1"), "agent a1") as client:
        yield client


async def test_an_agent_appends_events_in_its_own_name(agent: Client) -> None:
    joined = AgentJoined(
        agent_id=AgentId("a1"), incarnation="i1", pool_id=PoolId("default"), address="127.0.0.1", slots=()
    )
    envelope = log.envelope_of(joined, writer="worker-a1", actor="worker-a1", correlation="")
    assert await log.append(agent, [envelope], expected=0) == 1


@pytest.mark.parametrize(
    "subject",
    [
        "tm.scheduler.pool.default.GPUAllocated",
        "tm.worker-a2.trial.x-1.MetricReported",
        "metrics.a2.x-1",
        "logs.a2.x-1.0",
        "health.worker.a2",
        "$JS.API.STREAM.DELETE.EVENTS",
        "$JS.API.STREAM.PURGE.LOGS",
        "$JS.API.STREAM.UPDATE.EVENTS",
        "$JS.API.STREAM.CREATE.FORGED",
        "$JS.API.STREAM.MSG.DELETE.EVENTS",
        "$JS.API.CONSUMER.CREATE.LOGS",
        "_INBOX.scheduler.guess",
    ],
)
async def test_an_agent_may_not_publish(nats_server: NatsServer, agent: Client, subject: str) -> None:
    async with broker.connect(nats_server.url, "listener") as admin:
        heard = await admin.subscribe(subject)
        await admin.flush()
        await agent.publish(subject, b"forged")
        await agent.flush()
        await admin.flush()
        assert heard.pending_msgs == 0


async def test_an_agent_cannot_have_the_broker_forge_an_event(nats_server: NatsServer, agent: Client) -> None:
    """A consumer delivers to a subject of its maker's choice: it must not be one that a stream keeps."""
    forged = "tm.scheduler.pool.default.GPUAllocated"
    await _append_something(agent)
    request = {"stream_name": "EVENTS", "config": {"deliver_subject": forged, "ack_policy": "none"}}
    reply = await agent.request("$JS.API.CONSUMER.CREATE.EVENTS", json.dumps(request).encode(), timeout=2)
    assert "error" in json.loads(reply.data)
    async with broker.connect(nats_server.url, "reader") as admin:
        assert await log.last_of(admin, forged) is None


async def test_an_agent_hears_neither_other_agents_nor_their_inboxes(nats_server: NatsServer, agent: Client) -> None:
    heard: list[Any] = []

    async def hear(message: object) -> None:
        heard.append(message)

    for subject in ("tm.>", "logs.>", "_INBOX.>", "health.>"):
        await agent.subscribe(subject, cb=hear)
    await agent.flush()
    async with broker.connect(nats_server.url, "speaker") as admin:
        for subject in ("logs.a2.x-1.0", "_INBOX.scheduler.x", "health.worker.a2"):
            await admin.publish(subject, b"not for a1")
        await admin.flush()
    await agent.flush()
    assert heard == []


async def test_services_follow_the_log_with_their_permissions(nats_server: NatsServer, agent: Client) -> None:
    await _append_something(agent)
    for service in (subjects.GATEWAY, subjects.SEARCHER, subjects.SCHEDULER, subjects.TRACKER):
        async with broker.connect(nats_server.url_as(service), service) as client:
            follower = log.Follower(client, subjects.EVENTS)
            messages = await eventually(follower.next)
            assert [message.seq for message in messages] == [1]
            await follower.close()


@pytest.mark.parametrize("user", [subjects.SEARCHER, subjects.SCHEDULER, subjects.TRACKER, "worker-a1"])
async def test_nobody_but_the_gateway_reads_secrets(nats_server: NatsServer, user: str) -> None:
    async with broker.connect(nats_server.url_as(subjects.GATEWAY), "gateway") as gateway:
        await (await gateway.jetstream().key_value(subjects.SECRETS)).put("token.t1", b"hash")
    async with broker.connect(nats_server.url_as(user), user) as client:
        request = {
            "stream_name": "KV_SECRETS",
            "config": {"deliver_subject": client.new_inbox(), "ack_policy": "none", "deliver_policy": "all"},
        }
        for question in ("CONSUMER.CREATE.KV_SECRETS", "DIRECT.GET.KV_SECRETS.$KV.SECRETS.token.t1"):
            with pytest.raises(nats.errors.TimeoutError):  # the broker leaves a forbidden question unanswered
                await client.request(f"$JS.API.{question}", json.dumps(request).encode(), timeout=0.3)


async def test_the_scheduler_hears_heartbeats(nats_server: NatsServer, agent: Client) -> None:
    async with broker.connect(nats_server.url_as(subjects.SCHEDULER), "scheduler") as scheduler:
        heartbeats = await scheduler.subscribe(subjects.agents_health_filter())
        await scheduler.flush()
        await agent.publish(subjects.health_subject("worker", "a1"), b"{}")
        assert (await heartbeats.next_msg(timeout=ANSWER_TIMEOUT_S)).subject == "health.worker.a1"


async def _append_something(agent: Client) -> None:
    joined = AgentJoined(
        agent_id=AgentId("a1"), incarnation="i1", pool_id=PoolId("default"), address="127.0.0.1", slots=()
    )
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        await log.append(
            agent, [log.envelope_of(joined, writer="worker-a1", actor="worker-a1", correlation="")], expected=0
        )
