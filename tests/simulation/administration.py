"""An administrator in the simulated cluster, and what must hold whatever he sets, checked from the log alone."""

import random

from shared.events import (
    AgentDisabled,
    AgentDrainRequested,
    AgentEnabled,
    Event,
    ExperimentSubmitted,
    Fitting,
    GPUAllocated,
    GPUReleased,
    JobPoolSet,
    LimitCleared,
    LimitSet,
    PolicyType,
    PoolConfigured,
    PoolPolicy,
)
from shared.ids import AgentId, ExperimentId, PoolId, limit_id
from shared.log import Recorded

POOLS = (PoolId("default"), PoolId("spare"))
WHOLE = -1


def wish(draw: random.Random, experiment_id: ExperimentId, agents: list[tuple[AgentId, int]]) -> Event:
    """Return something that an administrator may set, of agents with so many slots."""
    agent_id, num_slots = draw.choice(agents)
    slots = draw.choice([(), (draw.randrange(num_slots),)])
    kind = draw.choice(["drain", "disable", *4 * ["enable"], "policy", "limit", "clear", "clear", "pool"])
    match kind:
        case "drain":
            return AgentDrainRequested(agent_id=agent_id, slots=slots, grace_s=draw.choice([None, 0.0, 0.05, 5.0]))
        case "disable":
            return AgentDisabled(agent_id=agent_id, slots=slots)
        case "enable":
            return AgentEnabled(agent_id=agent_id, slots=slots)
        case "policy":
            return PoolConfigured(pool_id=draw.choice(POOLS), policy=_policy(draw))
        case "limit":
            workspace = draw.choice([None, ""])
            max_slots = draw.choice([None, 1, 2, 4])
            return LimitSet(limit_id=limit_id(workspace), workspace=workspace, max_slots=max_slots, best_priority=50)
        case "clear":
            workspace = draw.choice([None, ""])
            return LimitCleared(limit_id=limit_id(workspace), workspace=workspace)
    return JobPoolSet(experiment_id=experiment_id, pool_id=draw.choice(POOLS))


def _policy(draw: random.Random) -> PoolPolicy:
    type_ = draw.choice(list(PolicyType))
    return PoolPolicy(
        type=type_,
        preemption=type_ is PolicyType.FAIR_SHARE or draw.random() < 0.5,
        fitting=draw.choice(list(Fitting)),
        heterogeneous_fits=draw.random() < 0.5,
        reserve_after_s=draw.choice([None, 0.0, 0.1]),
    )


def amends(experiment_id: ExperimentId, agents: list[tuple[AgentId, int]]) -> list[Event]:
    """Return what takes everything back, so that an experiment can end."""
    events: list[Event] = []
    for agent_id, num_slots in agents:
        events += [AgentEnabled(agent_id=agent_id), AgentEnabled(agent_id=agent_id, slots=tuple(range(num_slots)))]
    events += [LimitCleared(limit_id=limit_id(workspace), workspace=workspace) for workspace in (None, "")]
    return [*events, JobPoolSet(experiment_id=experiment_id, pool_id=POOLS[0])]


class Rules:
    """Watches every event: what was closed when a decision was taken gets nothing, no start goes beyond a limit, and
    a trial starts in the pool where its experiment then was."""

    def __init__(self) -> None:
        self.num_wishes = 0
        self._wishes: list[tuple[int, Event]] = []
        self._held: dict[str, int] = {}

    def watch(self, recorded: Recorded) -> None:
        """Check an event as it is stored."""
        event, position = recorded.event, recorded.envelope.position
        match event:
            case GPUAllocated():
                assert position is not None
                self._check_open(event, position)
                self._held[event.allocation_id] = sum(len(member.slots) for member in event.members)
                self._check_limits(position)
                assert event.pool_id == self._pool(position), f"{event.trial_id} starts in pool {event.pool_id}"
            case GPUReleased():
                del self._held[event.allocation_id]
            case _ if event is not None and recorded.envelope.writer == "gateway":
                self._wishes.append((recorded.seq, event))
                self.num_wishes += 1

    def _known(self, position: int) -> list[Event]:
        return [event for seq, event in self._wishes if seq <= position]

    def _check_open(self, allocated: GPUAllocated, position: int) -> None:
        closed: set[tuple[str, int]] = set()
        for event in self._known(position):
            match event:
                case AgentDrainRequested() | AgentDisabled():
                    closed |= {(event.agent_id, slot) for slot in event.slots or (WHOLE,)}
                case AgentEnabled():
                    closed -= {(event.agent_id, slot) for slot in event.slots or (WHOLE,)}
        for member in allocated.members:
            for slot in (WHOLE, *member.slots):
                assert (member.agent_id, slot) not in closed, f"{member.agent_id}/{slot} is closed and was given"

    def _check_limits(self, position: int) -> None:
        limits: dict[str | None, int | None] = {}
        for event in self._known(position):
            match event:
                case LimitSet():
                    limits[event.workspace] = event.max_slots
                case LimitCleared():
                    limits.pop(event.workspace, None)
        for limit in limits.values():
            held = sum(self._held.values())
            assert limit is None or held <= limit, f"{held} slots are held, {limit} allowed, and a trial starts"

    def _pool(self, position: int) -> PoolId:
        pool = POOLS[0]
        for event in self._known(position):
            if isinstance(event, JobPoolSet):
                pool = event.pool_id
            elif isinstance(event, ExperimentSubmitted):
                pool = PoolId(event.config["resources"]["resource_pool"])
        return pool
