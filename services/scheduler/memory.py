"""What the scheduler remembers, and the indexes that must agree. A fold of the log and nothing else (`state.py`).

Only what is open is kept: memory grows with what is queued and running, not with the log's length.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from services.scheduler import closures
from services.scheduler.closures import Closures, Faults
from services.scheduler.durations import Durations
from services.scheduler.records import EPOCH, Agent, Allocation, Claimant, Experiment, Limit, Trial
from shared.events import DEFAULT_POLICY, GangMember, PoolPolicy
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId

_Key = TypeVar("_Key", AgentId, ExperimentId)
_Item = TypeVar("_Item", AllocationId, TrialId)


@dataclass(slots=True)
class State:
    """Everything the scheduler decides from."""

    time: datetime = EPOCH  # of the newest event
    agents: dict[AgentId, Agent] = field(default_factory=dict)
    trials: dict[TrialId, Trial] = field(default_factory=dict)
    waiting: dict[PoolId, dict[TrialId, None]] = field(default_factory=dict)
    allocations: dict[AllocationId, Allocation] = field(default_factory=dict)
    experiments: dict[ExperimentId, Experiment] = field(default_factory=dict)
    free: dict[AgentId, set[int]] = field(default_factory=dict)
    freed_seq: dict[AgentId, int] = field(default_factory=dict)  # what last gave the agent a free slot
    unsettled: dict[AllocationId, None] = field(default_factory=dict)  # may need a release or a preemption
    held_on: dict[AgentId, dict[AllocationId, None]] = field(default_factory=dict)  # gangs by the names of their agents
    held_by: dict[ExperimentId, dict[AllocationId, None]] = field(default_factory=dict)
    trials_of: dict[ExperimentId, dict[TrialId, None]] = field(default_factory=dict)
    durations: Durations = field(default_factory=Durations)
    closures: Closures = field(default_factory=dict)
    faults: Faults = field(default_factory=dict)
    claimants: dict[str, Claimant] = field(default_factory=dict)  # agent/incarnation: who may have to be refused
    default_policy: PoolPolicy = DEFAULT_POLICY
    policies: dict[PoolId, PoolPolicy] = field(default_factory=dict)
    limits: dict[str | None, Limit] = field(default_factory=dict)  # by workspace; None: for each

    def policy(self, pool_id: PoolId) -> PoolPolicy:
        """Return how a pool is scheduled."""
        return self.policies.get(pool_id, self.default_policy)

    def max_slots(self, workspace: str) -> int | None:
        """Return how many slots a workspace's trials hold together at most; None: no limit."""
        found = [limit.max_slots for limit in self._limits(workspace) if limit.max_slots is not None]
        return min(found, default=None)

    def best_priority(self, workspace: str) -> int:
        """Return the lowest priority number that counts for a workspace's experiments."""
        if not self.limits:
            return 0
        return max((limit.best_priority or 0 for limit in self._limits(workspace)), default=0)

    def _limits(self, workspace: str) -> list[Limit]:
        return [self.limits[scope] for scope in (None, workspace) if scope in self.limits]


def drop(index: dict[_Key, dict[_Item, None]], key: _Key, item: _Item) -> None:
    """Take an item out of an index, and an empty entry with it."""
    if items := index.get(key):
        items.pop(item, None)
        if not items:
            del index[key]


def is_current(state: State, member: GangMember) -> bool:
    """Say whether a gang's member runs on the agent as it is now."""
    agent = state.agents.get(member.agent_id)
    return agent is not None and agent.incarnation == member.incarnation


def update_experiment(state: State, experiment_id: ExperimentId, **changes: int | str | None) -> None:
    """Change an experiment that is still open; its gangs may have to stop."""
    experiment = state.experiments.get(experiment_id)
    if experiment is None:
        return
    state.experiments[experiment_id] = replace(experiment, **changes)
    state.unsettled.update(state.held_by.get(experiment_id, {}))


def update_allocation(state: State, allocation_id: AllocationId, **changes: object) -> None:
    """Change an allocation that is still held; it may have to be released."""
    allocation = state.allocations.get(allocation_id)
    if allocation:
        state.allocations[allocation_id] = replace(allocation, **changes)
        state.unsettled[allocation_id] = None


def check_invariants(state: State) -> None:
    """Raise AssertionError when a slot has two owners or the books do not balance. For tests."""
    held: dict[AgentId, list[int]] = {agent_id: [] for agent_id in state.agents}
    for allocation in state.allocations.values():
        for member in allocation.members:
            if is_current(state, member):
                held[member.agent_id].extend(member.slots)
    for agent_id, agent in state.agents.items():
        taken = held[agent_id]
        assert len(taken) == len(set(taken)), f"a slot of {agent_id} is held twice: {taken}"
        assert set(taken) <= agent.slots, f"{agent_id} does not have all of {taken}"
        assert state.free[agent_id] == agent.slots - set(taken), f"the free slots of {agent_id} are wrong"
        closed = closures.closed_slots(state.closures, state.faults, agent_id, agent.slots)
        assert agent.closed == closed, f"{agent_id}'s closures"
        assert agent.is_open == closures.is_open(state.closures, agent_id), f"{agent_id}'s closures"
    for allocation_id, allocation in state.allocations.items():
        assert allocation_id in state.held_by[allocation.experiment_id], f"{allocation_id} is not found by experiment"
        assert all(allocation_id in state.held_on[m.agent_id] for m in allocation.members), f"{allocation_id} by agent"
    assert sum(map(len, state.held_by.values())) == len(state.allocations), "a gang that is gone is found"
    assert sum(map(len, state.trials_of.values())) == len(state.trials), "trials are not found by experiment"
    for trial in state.trials.values():
        queued = trial.trial_id in state.waiting.get(trial.pool_id, {})
        assert queued == (trial.waiting and trial.allocation_id is None), f"{trial} is misplaced in the queue"
