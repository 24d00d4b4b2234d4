"""When waiting trials will start, if all that is known of durations comes true: the policy itself, pass after pass.

Whoever starts takes what its experiment's others took; whoever is known nothing of holds its slots for ever, so that a
start behind it is not foreseen. Nobody new comes, and nobody fails. What is asked to stop stops at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush

from msgspec.structs import replace

from services.scheduler.policies import schedule
from services.scheduler.pool import Machine, Placement, Pool, Request
from services.scheduler.records import Trial
from services.scheduler.state import State
from services.scheduler.view import pool_view, workspace_uses
from shared.ids import AgentId, PoolId, TrialId

#: Agents and requests that are looked at in all passes together; a large pool is foreseen less far.
WORK = 20_000
MAX_WAITING = 200  # the first of the queue; whoever comes later is not foreseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """In how many seconds trials will start, of those that this can be said of; `endless` is somebody whose end is not
    known, and why; `is_blind`: the pool is too large to look ahead."""

    starts_s: Mapping[TrialId, float]
    endless: tuple[TrialId, str] | None = None
    is_blind: bool = False


def foresee(state: State, pool_id: PoolId, queue: Sequence[Trial], now: datetime) -> Foresight:
    """Return what is foreseen of a pool; `queue` is who waits and may start, in the order of service."""
    foreseen = queue[:MAX_WAITING]
    num_agents = sum(agent.pool_id == pool_id for agent in state.agents.values())
    if not foreseen or not num_passes(num_agents + len(state.allocations) + len(foreseen)):
        return Foresight(starts_s={}, is_blind=bool(foreseen))
    running = [allocation for allocation in state.allocations.values() if allocation.pool_id == pool_id]
    known = {held.trial_id: state.durations.of_run(held.allocation_id, now) for held in running}
    known |= {trial.trial_id: state.durations.of_trial(trial.trial_id) for trial in foreseen}
    lefts_s = {trial_id: left.left_s for trial_id, left in known.items() if left.left_s is not None}
    endless = next(((trial_id, left.why) for trial_id, left in known.items() if left.left_s is None), None)
    pool = pool_view(state, pool_id, workspace_uses(state), now)
    waiting = {trial.trial_id for trial in foreseen}
    ours = [request for request in pool.requests if request.placement is not None or request.trial_id in waiting]
    return Foresight(starts_s=forecast(replace(pool, requests=tuple(ours)), lefts_s), endless=endless)


def forecast(pool: Pool, left_s: Mapping[TrialId, float]) -> dict[TrialId, float]:
    """Return in how many seconds trials will start, for those that this can be said of.

    `left_s` is how much longer a trial runs or will run, where known.
    """
    future = _Future(pool=pool, left_s=dict(left_s), requests={request.trial_id: request for request in pool.requests})
    for request in pool.requests:
        if request.placement is not None:
            future.note_end(request)
    for _ in range(num_passes(len(pool.machines) + len(pool.requests))):
        if not future.go_on():
            break
    return future.starts_s


def num_passes(size: int) -> int:
    """Return how many passes are looked ahead for so many agents and trials; none where the first would take long."""
    return WORK // max(1, size)


@dataclass(slots=True, kw_only=True)
class _Future:
    """The pool as it will be at `clock_s` from now."""

    pool: Pool
    left_s: dict[TrialId, float]
    requests: dict[TrialId, Request]
    clock_s: float = 0.0
    starts_s: dict[TrialId, float] = field(default_factory=dict)
    _begun_s: dict[TrialId, float] = field(default_factory=dict)
    _ends: list[tuple[float, TrialId]] = field(default_factory=list)

    def go_on(self) -> bool:
        """Make a pass, or let time go by until the next end; say whether anything is left to happen."""
        plan = schedule(self._view())
        for trial_id in plan.release:
            self._stop(trial_id)
        for trial_id, placement in plan.allocate.items():
            self._start(trial_id, placement)
        if plan.release or plan.allocate:
            return True
        return self._next_end() and any(request.placement is None for request in self.requests.values())

    def note_end(self, request: Request) -> None:
        """Put down when a running trial ends, if that is known; one that stops does so now."""
        left_s = 0.0 if request.is_stopping else self.left_s.get(request.trial_id)
        self._begun_s[request.trial_id] = self.clock_s
        if left_s is not None:
            heappush(self._ends, (self.clock_s + left_s, request.trial_id))

    def _start(self, trial_id: TrialId, placement: Placement) -> None:
        self.requests[trial_id] = replace(self.requests[trial_id], placement=placement)
        self.starts_s.setdefault(trial_id, self.clock_s)
        self.note_end(self.requests[trial_id])

    def _stop(self, trial_id: TrialId) -> None:
        if trial_id in self.left_s:
            self.left_s[trial_id] = max(0.0, self.left_s[trial_id] - (self.clock_s - self._begun_s[trial_id]))
        self._ends = [end for end in self._ends if end[1] != trial_id]
        self.requests[trial_id] = replace(self.requests[trial_id], placement=None, waited_s=0.0)

    def _next_end(self) -> bool:
        if not self._ends:
            return False
        before_s, self.clock_s = self.clock_s, self._ends[0][0]
        while self._ends and self._ends[0][0] <= self.clock_s:
            self.requests.pop(heappop(self._ends)[1], None)
        for trial_id, request in self.requests.items():
            if request.placement is None:
                waited_s = request.waited_s + self.clock_s - before_s
                self.requests[trial_id] = replace(request, waited_s=waited_s)
        return True

    def _view(self) -> Pool:
        held: dict[AgentId, int] = {}
        num_zero: dict[AgentId, int] = {}
        for request in self.requests.values():
            for agent_id, slots in (request.placement or {}).items():
                held[agent_id] = held.get(agent_id, 0) + slots
                num_zero[agent_id] = num_zero.get(agent_id, 0) + (slots == 0)
        machines = tuple(_occupied(machine, held, num_zero) for machine in self.pool.machines)
        return replace(self.pool, machines=machines, requests=tuple(self.requests.values()))


def _occupied(machine: Machine, held: Mapping[AgentId, int], num_zero: Mapping[AgentId, int]) -> Machine:
    return replace(
        machine,
        free=machine.slots - held.get(machine.agent_id, 0),
        num_zero_slot=num_zero.get(machine.agent_id, 0),
    )
