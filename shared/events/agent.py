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


class AgentJoined(AgentEvent, frozen=True, kw_only=True):
    """An agent process started and offers its slots; nothing of an earlier incarnation still runs."""

    pool_id: PoolId
    address: str
    slots: tuple[Slot, ...]


class AgentLeft(AgentEvent, frozen=True, kw_only=True):
    """An agent process ended in good order; all its trials had stopped."""

    reason: str
