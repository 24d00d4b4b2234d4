"""Machines join as agents: with a token, once, and only where the platform is who drew it."""

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from services.gateway.joining import LASTS, Last, Token, admit, invite
from shared.errors import Rejected
from shared.events import AgentAdmitted, AgentInvited
from shared.ids import AgentId
from tests.gateway.conftest import HOSTS, Api
from trainmaster.client.joining import agent_environment, keep
from trainmaster.client.shapes import Joined

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = AgentId("host-1"), AgentId("host-2")
OLD = AgentInvited(agent_id=ONE, expires_at=NOW)
FRESH = AgentInvited(agent_id=ONE, expires_at=NOW + LASTS)
ADMITTED = AgentAdmitted(agent_id=ONE, machine="gpu7")


@pytest.mark.parametrize(
    ("last", "wanted", "invited"),
    [
        ({ONE: None, TWO: None}, None, ONE),
        ({ONE: FRESH, TWO: None}, None, TWO),
        ({ONE: ADMITTED, TWO: None}, None, TWO),
        ({ONE: OLD, TWO: None}, None, ONE),
        ({ONE: ADMITTED, TWO: None}, "host-1", ONE),
    ],
)
def test_the_first_that_is_free_is_invited_or_who_is_named(
    last: dict[AgentId, Last], wanted: str | None, invited: AgentId
) -> None:
    assert invite(last, wanted, NOW) == AgentInvited(agent_id=invited, expires_at=NOW + LASTS)


@pytest.mark.parametrize(
    ("last", "wanted", "reason"),
    [
        ({ONE: FRESH, TWO: ADMITTED}, None, "all 2 agents .* raise TM_REMOTE_AGENTS"),
        ({ONE: None}, "agent-1", "no agent 'agent-1' may join .* these may: host-1"),
        ({}, "host-1", "these may: none"),
    ],
)
def test_nobody_is_invited_beyond_those_who_may(last: dict[AgentId, Last], wanted: str | None, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        invite(last, wanted, NOW)


def test_an_invitation_admits_one_machine_in_time() -> None:
    assert admit(ONE, FRESH, "gpu7", NOW) == ADMITTED
    with pytest.raises(Rejected, match="has admitted gpu7 already"):
        admit(ONE, ADMITTED, "gpu8", NOW)
    for late in (OLD, None):
        with pytest.raises(Rejected, match="too old"):
            admit(ONE, late, "gpu7", NOW)


@pytest.mark.parametrize("text", ["", "tmj", "tmj.a.b", "tmj.a.b.c.d", "tm_x_y", "x.a.b.c"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert Token.parse(text) is None


async def join(api: Api, token: str) -> tuple[int, dict[str, str]]:
    async with aiohttp.ClientSession() as nobody:
        body = {"token": token, "machine": "gpu7"}
        async with nobody.post(f"{api.url}/api/v1/join", json=body) as response:
            return response.status, await response.json()


async def test_a_machine_joins_once_and_the_log_says_so_without_the_secret(api: Api) -> None:
    invitation = await api.post("/api/v1/invitations", HTTPStatus.CREATED, json={})
    status, joined = await join(api, invitation["token"])
    assert (status, joined["agent_id"], joined["nats_url"]) == (HTTPStatus.CREATED, ONE, HOSTS.nats_urls[ONE])
    status, refused = await join(api, invitation["token"])
    assert status == HTTPStatus.UNAUTHORIZED and "has admitted gpu7 already" in refused["detail"]
    for name, actor in (("AgentInvited", "admin"), ("AgentAdmitted", ONE)):
        (told,) = (await api.get("/api/v1/events", name=name))["items"]
        assert told["actor"] == actor
        assert invitation["token"].split(".")[2] not in str(told)


async def test_a_new_invitation_voids_the_one_before(api: Api) -> None:
    first = await api.post("/api/v1/invitations", HTTPStatus.CREATED, json={"agent": ONE})
    second = await api.post("/api/v1/invitations", HTTPStatus.CREATED, json={"agent": ONE})
    assert (await join(api, first["token"]))[0] == HTTPStatus.UNAUTHORIZED
    assert (await join(api, second["token"]))[0] == HTTPStatus.CREATED


@pytest.mark.parametrize("token", ["tmj.host-1.guess.x", "tmj.host-9.guess.x", "tmj.../../x.a.b", "nonsense"])
async def test_a_guess_admits_nobody(api: Api, token: str) -> None:
    await api.post("/api/v1/invitations", HTTPStatus.CREATED, json={"agent": ONE})
    assert (await join(api, token))[0] == HTTPStatus.UNAUTHORIZED


def test_what_a_machine_keeps_is_for_its_owner_alone(tmp_path: Path) -> None:
    joined = Joined(
        agent_id=ONE, nats_url="tls://a:b@c:1", s3_endpoint="https://c:2", s3_bucket="b", s3_access_key="k",
        s3_secret_key="s", certificate_authority=HOSTS.certificate_authority,
    )  # fmt: skip
    place = tmp_path / "agent"
    keep(place, joined, {"TM_SLOTS": "cpu:1"})
    keep(place, joined, {"TM_SLOTS": "cpu:2"})
    environment = agent_environment(place)
    assert environment["TM_SLOTS"] == "cpu:2" and Path(environment["TM_WORK_DIR"]).is_dir()
    assert Path(environment["TM_CA_FILE"]).read_text() == HOSTS.certificate_authority
    assert (place / "agent.json").stat().st_mode & 0o777 == 0o600 and place.stat().st_mode & 0o777 == 0o700
