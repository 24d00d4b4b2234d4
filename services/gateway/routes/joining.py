"""How agents on other machines come to be: an administrator invites, the machine joins with the invitation's token."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from services.gateway import intents
from services.gateway.access.access import JOIN
from services.gateway.api import PREFIX, Body, Call, NoQuery, json_response, post, read_body
from services.gateway.joining import Hosts, Token, admit, invite
from services.gateway.views.agents import Invitation, Joined
from shared.errors import Rejected
from shared.ids import AgentId, UserId

MAX_TOKEN = 256


class WantedAgent(Body, frozen=True, kw_only=True):
    """Which agent a machine is to join as; none: the first that is free. One that has joined can be invited again."""

    agent: Annotated[str, Meta(max_length=63)] | None = None


class Joining(Body, frozen=True, kw_only=True):
    """A token, and what the machine calls itself."""

    token: Annotated[str, Meta(max_length=MAX_TOKEN)]
    machine: Annotated[str, Meta(min_length=1, max_length=253)]


async def invite_machine(call: Call[NoQuery]) -> web.StreamResponse:
    """Let one machine join as an agent, with a token that is shown this once."""
    asked, hosts = await read_body(call.request, WantedAgent), _hosts(call)
    secrets = call.access.secrets
    revisions = {AgentId(name): await secrets.joining_revision(AgentId(name)) for name in hosts.nats_urls}
    last = {AgentId(name): await intents.last_of_host(call.parts.client, AgentId(name)) for name in hosts.nats_urls}
    event = invite({name: said for name, (_, said) in last.items()}, asked.agent, datetime.now(UTC))
    seq = await intents.append_about_host(call.parts.client, event, expected=last[event.agent_id][0])
    secret = await secrets.new_joining_secret(event.agent_id, revisions[event.agent_id])
    token = Token(event.agent_id, secret, hosts.fingerprint)
    view = Invitation(agent_id=event.agent_id, token=str(token), expires_at=event.expires_at)
    return json_response(view, seq=seq, status=HTTPStatus.CREATED)


async def join(call: Call[NoQuery]) -> web.StreamResponse:
    """Tell a machine that has an invitation's token where to connect, and as whom; the token admits it once."""
    asked, hosts = await read_body(call.request, Joining), _hosts(call)
    token = Token.parse(asked.token)
    admits = call.access.secrets.admits
    if token is None or token.agent_id not in hosts.nats_urls or not await admits(token.agent_id, token.secret):
        raise Rejected("this token admits nobody", status=HTTPStatus.UNAUTHORIZED)
    seq, said = await intents.last_of_host(call.parts.client, token.agent_id)
    event = admit(token.agent_id, said, asked.machine, datetime.now(UTC))
    seq = await intents.append_about_host(call.parts.client, event, expected=seq, actor=UserId(token.agent_id))
    view = Joined(
        agent_id=token.agent_id,
        nats_url=hosts.nats_urls[token.agent_id],
        s3_endpoint=hosts.s3_endpoint,
        s3_bucket=hosts.s3_bucket,
        s3_access_key=hosts.s3_access_key,
        s3_secret_key=hosts.s3_secret_key,
        certificate_authority=hosts.certificate_authority,
    )
    return json_response(view, seq=seq, status=HTTPStatus.CREATED)


def _hosts(call: Call[NoQuery]) -> Hosts:
    if call.parts.hosts is None:
        reason = "this platform takes no agents from other machines; deploy/compose does, with TM_REMOTE_AGENTS"
        raise Rejected(reason, status=HTTPStatus.CONFLICT)
    return call.parts.hosts


ROUTES = (
    post(
        f"{PREFIX}/invitations",
        invite_machine,
        Invitation,
        "Let a machine join as an agent",
        status=HTTPStatus.CREATED,
        body=WantedAgent,
        holds_secret=True,
        problems=(400, 409, 422),
        query=NoQuery,
    ),
    post(
        JOIN,
        join,
        Joined,
        "Join as an agent, with an invitation's token",
        status=HTTPStatus.CREATED,
        body=Joining,
        holds_secret=True,
        problems=(400, 401, 409, 422),
        query=NoQuery,
    ),
)
