"""What all gangs on an agent share."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.worker.logs import Logs
from services.worker.metrics import Metrics
from services.worker.outbox import Outbox
from services.worker.parent import Parent
from services.worker.workspace import Workspace
from shared.events import Slot
from shared.ids import AgentId
from shared.objectstore import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Facilities:
    """One of each for the whole agent."""

    agent_id: AgentId
    address: str
    slots: dict[int, Slot]
    base_environment: Mapping[str, str]
    outbox: Outbox
    parent: Parent
    logs: Logs
    metrics: Metrics
    store: ObjectStore
    workspace: Workspace
