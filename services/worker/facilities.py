"""What all gangs on an agent share."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.worker.logs import Logs
from services.worker.metrics import Metrics
from services.worker.outbox import Outbox
from services.worker.parent import Parent
from services.worker.workspace import Workspace
from shared.events import Slot, SlotKind
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
    forks_on_gpus: bool = False

    async def may_fork(self, kind: SlotKind) -> bool:
        """Say whether ranks on slots of a kind may be forks of the warm parent."""
        if kind is SlotKind.CPU:
            return True
        await self.parent.wait_until_warm()
        return self.forks_on_gpus and not self.parent.has_used_cuda
