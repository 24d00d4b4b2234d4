"""Events of an agent: which slots a machine offers (worker)."""

from enum import StrEnum
from typing import ClassVar

import msgspec

from shared.events.event import Event
from shared.ids import AgentId, PoolId
from shared.subjects import agent_writer


class SlotKind(StrEnum):
    """What a slot is made of."""

    CPU = "cpu"
    CUDA = "cuda"


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of scheduling on an agent; for CUDA one GPU, named by its NVML UUID."""

    number: int
    kind: SlotKind
    name: str
    device_uuid: str | None = None
    memory_bytes: int | None = None


class AgentEvent(Event, frozen=True, kw_only=True):
    """Common to all events of an agent."""

    aggregate: ClassVar[str] = "agent"
    aggregate_field: ClassVar[str] = "agent_id"

    agent_id: AgentId
    incarnation: str

    @property
    def rightful_writer(self) -> str:
        """The agent that it names."""
        return agent_writer(self.agent_id)


ZERO_SLOT_LIMIT = 100  # tasks without slots on one agent, as Determined's max_aux_containers_per_agent


class AgentJoined(AgentEvent, frozen=True, kw_only=True, omit_defaults=True):
    """An agent process offers its slots; nothing of the incarnation that it `succeeds` still runs ("": it knows of
    none; None: an earlier version, which follows on whoever was there). While another incarnation is alive it waits to
    be refused. Said again by the same incarnation, its slots have changed.

    Of its `labels`, `switch` says which agents are near each other.
    """

    pool_id: PoolId
    address: str
    slots: tuple[Slot, ...]
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    zero_slot_limit: int = ZERO_SLOT_LIMIT
    succeeds: str | None = None


class AgentLeaving(AgentEvent, frozen=True, kw_only=True):
    """An agent process was told to end: it takes no new work, and what runs on it must stop everywhere."""


class SlotFault(StrEnum):
    """What is wrong with a GPU."""

    ECC = "uncorrectable memory errors"
    REMAPPING = "a row of memory could not be replaced"
    XID = "critical error told by the driver"
    GONE = "the driver cannot reach it"


class SlotUnhealthy(AgentEvent, frozen=True, kw_only=True):
    """A slot's GPU is not fit for work: it gets none until SlotRecovered, or until an administrator enables the
    slot. What runs there goes on."""

    slot: int
    fault: SlotFault
    detail: str


class SlotRecovered(AgentEvent, frozen=True, kw_only=True):
    """A slot's GPU is fit for work again."""

    slot: int


class AgentLeft(AgentEvent, frozen=True, kw_only=True):
    """An agent process ended in good order; all its trials had stopped."""

    reason: str
