"""What the scheduler shows to Prometheus besides what every service does: its pools."""

from collections import Counter

from prometheus_client import Gauge

from services.scheduler.memory import State
from shared.ids import PoolId
from shared.instruments import REGISTRY

WAITING = Gauge("tm_queue_trials", "Trials that wait for slots.", ("pool",), registry=REGISTRY)
WAITING_SLOTS = Gauge("tm_queue_slots", "Slots that the waiting trials ask for.", ("pool",), registry=REGISTRY)
AGENTS = Gauge("tm_agents", "Agents that are in.", ("pool",), registry=REGISTRY)
SLOTS = Gauge("tm_slots", "Slots of the agents that are in.", ("pool",), registry=REGISTRY)
IN_USE = Gauge("tm_slots_in_use", "Slots that trials hold.", ("pool",), registry=REGISTRY)
ALLOCATIONS = Gauge("tm_allocations", "Gangs that hold slots.", registry=REGISTRY)


def observe(state: State) -> None:
    """Set the gauges, of pools too that have become empty."""
    waiting = {pool: len(trials) for pool, trials in state.waiting.items()}
    asked = {pool: sum(state.trials[trial].slots for trial in trials) for pool, trials in state.waiting.items()}
    agents, slots, free = Counter[PoolId](), Counter[PoolId](), Counter[PoolId]()
    for agent_id, agent in state.agents.items():
        agents[agent.pool_id] += 1
        slots[agent.pool_id] += len(agent.slots)
        free[agent.pool_id] += len(state.free.get(agent_id, ()))
    for pool in {*waiting, *agents}:
        WAITING.labels(pool).set(waiting.get(pool, 0))
        WAITING_SLOTS.labels(pool).set(asked.get(pool, 0))
    for gauge, numbers in ((AGENTS, agents), (SLOTS, slots), (IN_USE, slots - free)):
        gauge.clear()
        for pool in {*waiting, *agents}:
            gauge.labels(pool).set(numbers[pool])
    ALLOCATIONS.set(len(state.allocations))
