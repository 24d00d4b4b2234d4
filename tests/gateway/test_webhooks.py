"""Webhooks: what is posted is signed, filtered, in order and retried; what may not be posted to is not."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from nats.aio.client import Client

from services.gateway.access.secrets import Secrets
from services.gateway.webhooks import sender, signature, target
from services.gateway.webhooks.sender import Webhooks
from shared import broker, codec, log, subjects
from shared.errors import Rejected
from shared.events import Event, WebhookCreated, WebhookDied, WebhookReplayed
from shared.ids import WebhookId
from shared.instruments import REGISTRY
from tests.gateway.conftest import ADMIN_TOKEN, Api, running
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.platform import run_tm
from tests.support.servers import NatsServer
from tests.tracker import story
from trainmaster.embedded.program import HOST, free_port

LOOPBACK = target.networks("127.0.0.0/8")
HOOK = WebhookId("wh01")
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@dataclass
class Receiver:
    """A server that takes webhooks; it answers with `statuses` first, then with 200."""

    url: str
    statuses: list[int] = field(default_factory=list)
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.heard]

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": self.url} if status == 302 else None)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    port = free_port()
    server = Receiver(f"http://{HOST}:{port}/hook")
    app = web.Application()
    app.router.add_route("*", "/hook", server.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    async with broker.connect(nats_server.url, "test") as connected:
        yield connected


async def say(client: Client, event: Event) -> int:
    subject = subjects.aggregate_subject(subjects.GATEWAY, event.aggregate, event.aggregate_id)
    last = await log.last_of(client, subject)
    envelope = log.envelope_of(event, writer=subjects.GATEWAY, actor="admin", correlation=event.aggregate_id)
    return await log.append(client, [envelope], expected=last.seq if last else 0)


async def make(client: Client, url: str, *events: str) -> int:
    await Secrets(client).set_webhook_secret(HOOK, SECRET)
    return await say(client, WebhookCreated(webhook_id=HOOK, url=url, events=events))


@contextlib.asynccontextmanager
async def posting(client: Client, networks: tuple[target.Network, ...] = LOOPBACK) -> AsyncIterator[Webhooks]:
    webhooks = Webhooks(client, Secrets(client), networks, pause_s=0.01)
    async with running(webhooks.run()):
        yield webhooks


async def died(client: Client) -> WebhookDied | None:
    message = await log.last_of(client, subjects.event_filter(name="WebhookDied"))
    event = codec.decode(message.body).event if message else None
    return event if isinstance(event, WebhookDied) else None


async def test_what_is_asked_for_is_posted_in_order_and_signed(client: Client, receiver: Receiver) -> None:
    await story.tell(client, [story.submitted()])  # before: not posted
    await make(client, receiver.url, "TrialRequested")
    async with posting(client):
        first = await story.tell(client, [story.requested(1)])
        await story.tell(client, [story.allocated(1)])  # of another name
        second = await story.tell(client, [story.requested(2)])
        await eventually(lambda: len(receiver.heard) == 2)
    assert receiver.ids == [f"wh01.{first}", f"wh01.{second}"]
    headers, body = receiver.heard[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    posted = json.loads(body)
    assert (posted["type"], posted["data"]["seq"]) == ("TrialRequested", first)


async def test_an_event_is_posted_until_it_is_taken(client: Client, receiver: Receiver) -> None:
    receiver.statuses = [500, 302, 404]  # nor is a redirection followed
    await make(client, receiver.url)
    async with posting(client):
        seq = await story.tell(client, [story.submitted()])
        await eventually(lambda: len(receiver.heard) == 4)
    assert receiver.ids == [f"wh01.{seq}"] * 4


async def test_posts_are_counted_and_how_late_they_were_taken(client: Client, receiver: Receiver) -> None:
    def figure(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = [figure("tm_webhook_posts_total", outcome=outcome) for outcome in ("taken", "refused")]
    taken = figure("tm_webhook_delay_seconds_count")
    receiver.statuses = [500, 503]
    await make(client, receiver.url)
    async with posting(client):
        await story.tell(client, [story.submitted()])
        await eventually(lambda: figure("tm_webhook_delay_seconds_count") == taken + 1)
    assert [figure("tm_webhook_posts_total", outcome=outcome) for outcome in ("taken", "refused")] == [
        before[0] + 1,
        before[1] + 2,
    ]


async def test_who_refuses_too_often_is_dead_until_a_replay(
    client: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "MAX_ATTEMPTS", 3)
    receiver.statuses = [503] * 3
    await make(client, receiver.url, "ExperimentSubmitted", "TrialRequested")
    async with posting(client):
        seq = await story.tell(client, [story.submitted()])
        event = await eventually(lambda: died(client))
        assert event is not None
        assert (event.seq, event.attempts, event.reason) == (seq, 3, "the answer was 503")
        later = await story.tell(client, [story.requested(1)])
        await say(client, WebhookReplayed(webhook_id=HOOK, from_seq=seq))
        await eventually(lambda: len(receiver.heard) == 5)
    assert receiver.ids[3:] == [f"wh01.{seq}", f"wh01.{later}"]


async def test_a_gateway_that_starts_again_goes_on_where_it_was(client: Client, receiver: Receiver) -> None:
    await make(client, receiver.url, "ExperimentSubmitted", "TrialRequested")
    async with posting(client):
        first = await story.tell(client, [story.submitted()])
        await eventually(lambda: _noted(client, first))
    second = await story.tell(client, [story.requested(1)])
    async with posting(client):
        await eventually(lambda: len(receiver.heard) == 2)
    assert receiver.ids == [f"wh01.{first}", f"wh01.{second}"]


async def _noted(client: Client, seq: int) -> bool:
    return await Secrets(client).webhook_position(HOOK, 1) == seq


@pytest.mark.parametrize("host", [HOST, "localhost"])
async def test_the_address_that_is_connected_to_counts(
    client: Client, receiver: Receiver, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "MAX_ATTEMPTS", 1)
    await make(client, receiver.url.replace(HOST, host))
    async with posting(client, networks=()):
        await story.tell(client, [story.submitted()])
        event = await eventually(lambda: died(client))
        assert event is not None
    assert "not a public address" in event.reason
    assert receiver.heard == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",
     "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::", "::127.0.0.1",
     "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fec0::1"],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(target.Forbidden):
        target.check_address(address, ())


def test_public_addresses_and_allowed_networks_are_not() -> None:
    for address in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"):
        target.check_address(address, ())
    target.check_address("10.1.2.3", target.networks("10.1.0.0/16, 192.168.7.0/24"))
    with pytest.raises(ValueError, match="host bits"):
        target.networks("10.1.2.3/16")


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/", "example.org", "http://", "http://user:pw@example.org/", "http://localhost/", "http://127.1/",
     "http://2130706433/", "http://[::1]/", "http://127.0.0.1:8080/", "http://x:99999/", "http://exa mple.org/",
     "http://a..b/", f"http://{'x' * 64}.example.org/"],
)  # fmt: skip
async def test_urls_that_lead_inside_or_nowhere_are_refused(url: str) -> None:
    with pytest.raises(Rejected):
        await target.check_url(url, ())


def test_a_secret_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="base64"):
        signature.headers("whsec_!", "id", 0, b"")


async def test_an_administrator_makes_lists_replays_and_deletes_them(api: Api) -> None:
    refused: dict[str, Any] = await api.post("/api/v1/webhooks", 422, json={"url": "http://127.0.0.1/x"})
    assert refused["errors"][0]["path"] == "url"
    wanted = {"url": "http://93.184.216.34/x", "events": ["TrialClosed"]}
    await api.post("/api/v1/webhooks", 422, json=wanted | {"events": ["Nonsense"]})
    made = await api.post("/api/v1/webhooks", 201, json=wanted)
    assert made["secret"].startswith("whsec_")
    webhook_id = made["webhook"]["id"]
    (listed,) = (await api.get("/api/v1/webhooks"))["items"]
    assert (listed["id"], listed["state"], listed["events"]) == (webhook_id, "ALIVE", ["TrialClosed"])
    assert made["secret"] not in json.dumps(await api.get("/api/v1/events"))
    again = await api.post(f"/api/v1/webhooks/{webhook_id}/replay", json={"from_seq": 1})
    assert again["state"] == "ALIVE"
    await api.post("/api/v1/webhooks/whnone/replay", 404, json={"from_seq": 1})
    async with api.http.delete(f"{api.url}/api/v1/webhooks/{webhook_id}") as response:
        assert response.status == 200
    assert (await api.get("/api/v1/webhooks"))["items"] == []
    async with asyncio.timeout(PATIENCE_S), broker.connect(api.settings.nats_url, "gateway") as gateway:
        assert await Secrets(gateway).webhook_secret(webhook_id) is None


async def test_the_command_makes_lists_and_deletes_them(api: Api) -> None:
    env = {"TM_URL": api.url, "TM_TOKEN": ADMIN_TOKEN}

    async def tm(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(run_tm, "webhook", *words, env=env)

    made = await tm("create", "http://93.184.216.34/x", "--event", "TrialClosed")
    assert made.stdout.startswith("whsec_")
    webhook_id = made.stderr.split()[1]
    assert (await tm("replay", webhook_id, "--from", "1")).returncode == 0
    listed = (await tm("ls")).stdout
    assert f"{webhook_id}  ALIVE" in listed and "TrialClosed" in listed
    refused = await tm("create", "http://127.0.0.1/x")
    assert refused.returncode == 1 and "not a public address" in refused.stderr
    assert (await tm("rm", webhook_id)).stdout == f"webhook {webhook_id} posts nothing more\n"
