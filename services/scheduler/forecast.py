"""When waiting trials will start, if all that is known of durations comes true: the policy itself, pass after pass.

Whoever starts takes what its experiment's others took; whoever is known nothing of holds its slots for ever, so that a
start behind it is not foreseen. Nobody new comes, and nobody fails. What is asked to stop stops at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush

from msgspec.structs import replace

from services.scheduler.books import Books
from services.scheduler.jobs import terms_of
from services.scheduler.memory import State
from services.scheduler.policies import look
from services.scheduler.pool import Placement, Pool, Request, WorkspaceUse
from services.scheduler.records import Trial
from services.scheduler.view import pool_view, workspace_uses
from shared.ids import PoolId, TrialId

MAX_SIZE = 2_000  # agents and running trials; beyond it, making the books alone takes too long
MAX_PASSES = 500
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
    if not foreseen or num_agents + len(state.allocations) > MAX_SIZE:
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
    future = _Future(books=Books.of(replace(pool, workspaces=_copied(pool.workspaces))), left_s=dict(left_s))
    future.begin(pool.requests)
    for _ in range(MAX_PASSES):
        if not future.go_on():
            break
    return future.starts_s


def _copied(uses: Mapping[str, WorkspaceUse]) -> dict[str, WorkspaceUse]:
    return {workspace: WorkspaceUse(limit=use.limit, held=use.held) for workspace, use in uses.items()}


@dataclass(slots=True, kw_only=True)
class _Future:
    """The pool as it will be at `clock_s` from now; its books are kept from pass to pass, like the scheduler's."""

    books: Books
    left_s: dict[TrialId, float]
    clock_s: float = 0.0
    starts_s: dict[TrialId, float] = field(default_factory=dict)
    _waiting: dict[TrialId, Request] = field(default_factory=dict)
    _running: dict[TrialId, Request] = field(default_factory=dict)
    _since_s: dict[TrialId, float] = field(default_factory=dict)  # when they began to run
    _ends: list[tuple[float, TrialId]] = field(default_factory=list)
    _dues: list[tuple[float, TrialId]] = field(default_factory=list)  # when who will have waited too long

    def begin(self, requests: Iterable[Request]) -> None:
        """Take note of who runs and who waits."""
        for request in requests:
            if request.placement is None:
                self._note_wait(request)
            else:
                self._note_run(request)

    def go_on(self) -> bool:
        """Make a pass, or let time go by until something is due; say whether anything is left to happen."""
        plan = look(self.books, asked=())
        for trial_id in plan.release:
            self._stop(trial_id)
        for trial_id, placement in plan.allocate.items():
            self._start(trial_id, placement)
        return bool(plan.release or plan.allocate) or (bool(self._waiting) and self._let_time_go_by())

    def _note_run(self, request: Request) -> None:
        """One that stops does so now."""
        left_s = 0.0 if request.is_stopping else self.left_s.get(request.trial_id)
        self._running[request.trial_id] = request
        self._since_s[request.trial_id] = self.clock_s
        if left_s is not None:
            heappush(self._ends, (self.clock_s + left_s, request.trial_id))

    def _note_wait(self, request: Request) -> None:
        self._waiting[request.trial_id] = request
        after_s = self.books.policy.reserve_after_s
        if after_s is not None and request.slots and request.waited_s < after_s:
            heappush(self._dues, (self.clock_s + after_s - request.waited_s, request.trial_id))

    def _start(self, trial_id: TrialId, placement: Placement) -> None:
        request = replace(self._waiting.pop(trial_id), placement=placement)
        self.books.unwant(trial_id)
        self._occupy(request, 1)
        self.books.hold(request)
        self.starts_s.setdefault(trial_id, self.clock_s)
        self._note_run(request)

    def _stop(self, trial_id: TrialId) -> None:
        """It waits again, with what it has left."""
        if trial_id in self.left_s:
            self.left_s[trial_id] = max(0.0, self.left_s[trial_id] - (self.clock_s - self._since_s[trial_id]))
        for heap in (self._ends, self._dues):
            heap[:] = [entry for entry in heap if entry[1] != trial_id]
            heapify(heap)
        request = replace(self._end(trial_id), placement=None, waited_s=0.0)
        self._want(request, is_overdue=False)
        self._note_wait(request)

    def _end(self, trial_id: TrialId) -> Request:
        request = self._running.pop(trial_id)
        self.books.unhold(trial_id)
        self._occupy(request, -1)
        return request

    def _want(self, request: Request, *, is_overdue: bool) -> None:
        self.books.set_job(request.job_id, terms_of(request))
        self.books.want(
            request.job_id,
            request.trial_id,
            request.slots,
            request.number,
            preemptible=request.preemptible,
            is_overdue=is_overdue,
        )

    def _let_time_go_by(self) -> bool:
        """Go to the next end, or to the next who will have waited too long; say whether there is one."""
        coming = [heap[0][0] for heap in (self._ends, self._dues) if heap]
        if not coming:
            return False
        self.clock_s = min(coming)
        while self._ends and self._ends[0][0] <= self.clock_s:
            self._end(heappop(self._ends)[1])
        while self._dues and self._dues[0][0] <= self.clock_s:
            trial_id = heappop(self._dues)[1]
            if request := self._waiting.get(trial_id):
                self.books.unwant(trial_id)
                self._want(request, is_overdue=True)
        return True

    def _occupy(self, request: Request, sign: int) -> None:
        """Book a gang's slots on its agents and with its workspace, or (-1) give them back."""
        for machine_id, slots in (request.placement or {}).items():
            if machine := self.books.fleet.machines.get(machine_id):
                free = min(machine.slots, machine.free - sign * slots)
                num_zero = machine.num_zero_slot + (sign if slots == 0 else 0)
                self.books.put(replace(machine, free=free, num_zero_slot=num_zero))
        if use := self.books.workspaces.get(request.workspace):
            use.held += sign * request.slots
