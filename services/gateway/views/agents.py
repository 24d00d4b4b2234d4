"""Agents, their slots, and how a machine becomes one."""

from datetime import datetime
from enum import StrEnum

from services.gateway.views.view import View


class AgentState(StrEnum):
    """Whether an agent offers its slots."""

    UP = "UP"
    LOST = "LOST"
    LEFT = "LEFT"


class Availability(StrEnum):
    """Whether an agent or a slot takes new work, as an administrator wants it; what runs on a draining one goes on."""

    ENABLED = "ENABLED"
    DRAINING = "DRAINING"
    DISABLED = "DISABLED"


class SlotView(View, frozen=True, kw_only=True):
    """One unit of scheduling, and the trial that holds it. It takes work when its agent does, too, and unless
    `unhealthy` says why its GPU is not fit for any."""

    number: int
    kind: str
    name: str
    memory_bytes: int | None
    trial_id: str | None
    availability: Availability = Availability.ENABLED
    ends_at: datetime | None = None
    unhealthy: str | None = None


class Agent(View, frozen=True, kw_only=True):
    """A machine that offers slots. What runs on a draining one must stop from `ends_at` on, if that is set."""

    id: str
    incarnation: str
    pool: str
    address: str
    state: AgentState
    joined_at: datetime
    slots: list[SlotView]
    availability: Availability
    ends_at: datetime | None
    labels: dict[str, str]
    zero_slot_limit: int


class AgentList(View, frozen=True, kw_only=True):
    """All agents ever seen, by name."""

    items: list[Agent]
    next_cursor: str | None


class Invitation(View, frozen=True, kw_only=True):
    """Lets one machine join as an agent; the token is shown this once."""

    agent_id: str
    token: str
    expires_at: datetime


class Joined(View, frozen=True, kw_only=True):
    """Where an agent's machine connects, and as whom; certificate_authority (PEM) is whom it believes."""

    agent_id: str
    nats_url: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    certificate_authority: str
