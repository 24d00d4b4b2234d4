"""Events of agents on other machines: who may join as which (gateway)."""

from datetime import datetime
from typing import ClassVar

from shared.events.event import Event
from shared.ids import AgentId


class JoiningEvent(Event, frozen=True, kw_only=True):
    """Common to all events about joining."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "host"
    aggregate_field: ClassVar[str] = "agent_id"

    agent_id: AgentId


class AgentInvited(JoiningEvent, frozen=True, kw_only=True):
    """An administrator lets one machine join as this agent, until then; an earlier invitation of the agent is void. The
    token's hash lies with the gateway's secrets, never on the log."""

    expires_at: datetime


class AgentAdmitted(JoiningEvent, frozen=True, kw_only=True):
    """A machine has joined as this agent; the token that it showed admits no other one."""

    machine: str
