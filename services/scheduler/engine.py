"""Decides from event to event, at a cost of what the events have changed.

Beside the folded state it keeps the books of every pool (`books.py`). An event can change only what it names: a trial,
an allocation, an agent, an experiment; and with an agent or an experiment, what the state's own indexes find by it.
Those are noted as events are folded, and looked at again when something is to be decided. Whatever happened, the books
are then what they would be if they were made anew from the state; what is said of policies, limits and the like makes
them anew. A pool of which nothing has changed since nothing was to be done in it is not looked at.

Nothing here is remembered that the state does not say: a new engine on the same state decides the same (`decide.py`
is just that, and tests hold this one to it).
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush

from services.scheduler import closures, orders, view
from services.scheduler.books import Books
from services.scheduler.jobs import Terms
from services.scheduler.memory import State
from services.scheduler.policies import look
from services.scheduler.pool import WorkspaceUse, is_overdue
from services.scheduler.records import EPOCH, Allocation
from services.scheduler.state import concerns, evolve
from shared.decisions import Decision
from shared.events import (
    DEFAULT_POLICY,
    DefaultPolicySet,
    Event,
    GPUAllocated,
    LimitCleared,
    LimitSet,
    PoolConfigured,
    PoolPolicy,
)
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId
from shared.log import Recorded

#: What is said to all pools, or of how one works.
_OF_ALL = (PoolConfigured, DefaultPolicySet, LimitSet, LimitCleared)


@dataclass(slots=True)
class _Touched:
    """What events have named since the books were last up to date."""

    everything: bool = True
    trials: dict[TrialId, None] = field(default_factory=dict)
    allocations: dict[AllocationId, None] = field(default_factory=dict)
    agents: dict[AgentId, None] = field(default_factory=dict)
    experiments: dict[ExperimentId, None] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        """Note whom an event names. One that names a trial changes nothing else of its experiment."""
        if isinstance(event, _OF_ALL):
            self.everything = True
        if agent_id := getattr(event, "agent_id", None):
            self.agents[agent_id] = None
        if allocation_id := getattr(event, "allocation_id", None):
            self.allocations[allocation_id] = None
        if trial_id := getattr(event, "trial_id", None):
            self.trials[trial_id] = None
        elif experiment_id := getattr(event, "experiment_id", None):
            self.experiments[experiment_id] = None
        if isinstance(event, GPUAllocated):
            self.agents.update(dict.fromkeys(member.agent_id for member in event.members))


@dataclass(frozen=True, slots=True)
class _Held:
    """An allocation as the books have it."""

    pool_id: PoolId
    trial_id: TrialId
    agents: tuple[AgentId, ...]
    workspace: str | None
    num_slots: int


class Engine:
    """One scheduler's books. `fold` keeps a state and notes what changes; `decide` says what is needed now."""

    def __init__(self, *, is_plain: bool = False) -> None:
        self._is_plain = is_plain
        self._state: State | None = None  # of which the books are
        self._now = EPOCH
        self._terms: dict[ExperimentId, Terms] = {}  # as found while the books are brought up to date
        self._touched = _Touched()
        self._start_anew()

    def _start_anew(self) -> None:
        self._books: dict[PoolId, Books] = {}
        self._quiet: dict[PoolId, int] = {}  # at which version of its books nothing was to be done in a pool
        self._machines: dict[AgentId, tuple[PoolId, tuple[AgentId, ...]]] = {}
        self._waiting: dict[TrialId, PoolId] = {}
        self._held: dict[AllocationId, _Held] = {}
        self._held_by: dict[TrialId, AllocationId] = {}
        self._unsettled: dict[AllocationId, None] = {}  # those to look at whatever happens
        self._held_in: dict[str, int] = {}  # slots by workspace
        self._due: list[tuple[datetime, TrialId]] = []  # when who will have waited too long

    def fold(self, state: State, recorded: Recorded) -> None:
        """Fold an event into the state, and note whom it may have changed."""
        evolve(state, recorded)
        event = recorded.event
        if event is not None and concerns(type(event)):
            self._touched.note(event)

    def decide(
        self,
        state: State,
        silent_s: Mapping[AgentId, float],
        *,
        now: datetime,
        agent_timeout_s: float,
        policy: PoolPolicy = DEFAULT_POLICY,
        contested: AbstractSet[str] = frozenset(),
    ) -> list[Decision]:
        """Return the events that are needed now, grouped by pool. See `decide.decide`."""
        if state.default_policy != policy:
            return [orders.default_policy(policy)]
        self._bring_up_to_date(state, now)
        decisions = [
            *orders.lost_agents(state, silent_s, agent_timeout_s),
            *orders.refusals(state, contested),
            *self._settle(state, now),
            *self._serve(state),
        ]
        return sorted(decisions, key=lambda decision: decision.event.aggregate_id)

    def inspect(self, state: State, now: datetime) -> Mapping[PoolId, Books]:
        """Return the pools' books as they are now, to be looked at only."""
        self._bring_up_to_date(state, now)
        uses = self._uses(state)
        for books in self._books.values():
            books.workspaces = uses
        return self._books

    def _settle(self, state: State, now: datetime) -> list[Decision]:
        """Release or stop gangs, the oldest first; forget whoever needs neither until something happens to it."""
        decisions = []
        for allocation in sorted((state.allocations[id_] for id_ in self._unsettled), key=_age):
            if decision := orders.settlement(state, allocation, now):
                decisions.append(decision)
            elif not closures.will_end(state.closures, allocation.members, now):
                del self._unsettled[allocation.allocation_id]
        return decisions

    def _serve(self, state: State) -> list[Decision]:
        decisions: list[Decision] = []
        uses = self._uses(state)
        for pool_id in state.waiting:
            books = self._books.get(pool_id)
            if books is None or not len(books.queue) or (not uses and self._quiet.get(pool_id) == books.version):
                continue
            books.workspaces = uses
            plan = look(books, asked=None if self._is_plain else (), is_plain=self._is_plain)
            if not plan.allocate and not plan.release:
                self._quiet[pool_id] = books.version
            decisions += orders.carried_out(state, pool_id, plan)
            for trial_id in plan.allocate:
                trial = state.trials[trial_id]
                if use := uses.get(state.experiments[trial.experiment_id].workspace):
                    use.held += trial.slots
        return decisions

    def _uses(self, state: State) -> dict[str, WorkspaceUse]:
        """Return what each workspace that has a limit holds."""
        if not state.limits:
            return {}
        limits = {workspace: state.max_slots(workspace) for workspace in self._held_in}
        return {
            workspace: WorkspaceUse(limit=limit, held=self._held_in[workspace])
            for workspace, limit in limits.items()
            if limit is not None
        }

    def _bring_up_to_date(self, state: State, now: datetime) -> None:
        touched, self._touched = self._touched, _Touched(everything=False)
        if touched.everything or state is not self._state or now < self._now:
            self._start_anew()
            touched = _Touched(
                trials=dict.fromkeys(state.trials),
                allocations=dict.fromkeys(state.allocations),
                agents=dict.fromkeys(state.agents),
            )
        else:
            self._widen(state, touched)
        self._state, self._now, self._terms = state, now, {}
        for agent_id in touched.agents:
            self._see_agent(state, agent_id)
        for allocation_id in (
            *touched.allocations,
            *(id_ for id_ in self._unsettled if id_ not in touched.allocations),
        ):
            self._see_allocation(state, allocation_id, now)
        for trial_id in touched.trials:
            self._see_trial(state, trial_id, now)
        self._see_overdue(state, now)

    def _widen(self, state: State, touched: _Touched) -> None:
        """Add what a change of an experiment or of an agent can have changed besides."""
        for experiment_id in touched.experiments:
            touched.trials.update(state.trials_of.get(experiment_id, {}))
            touched.allocations.update(state.held_by.get(experiment_id, {}))
        for agent_id in touched.agents:
            touched.allocations.update(state.held_on.get(agent_id, {}))
        for trial_id in touched.trials:
            if allocation_id := self._held_by.get(trial_id):
                touched.allocations[allocation_id] = None
        for allocation_id in touched.allocations:
            known, allocation = self._held.get(allocation_id), state.allocations.get(allocation_id)
            touched.agents.update(dict.fromkeys(known.agents if known else ()))
            touched.agents.update(
                dict.fromkeys(member.agent_id for member in (allocation.members if allocation else ()))
            )

    def _terms_of(self, state: State, experiment_id: ExperimentId) -> Terms:
        if experiment_id not in self._terms:
            self._terms[experiment_id] = view.terms(state, experiment_id)
        return self._terms[experiment_id]

    def _books_of(self, state: State, pool_id: PoolId) -> Books:
        if pool_id not in self._books:
            self._books[pool_id] = Books(state.policy(pool_id))
        return self._books[pool_id]

    def _see_agent(self, state: State, agent_id: AgentId) -> None:
        agent = state.agents.get(agent_id)
        machines = view.machines_of(state, agent) if agent else []
        known = self._machines.pop(agent_id, None)
        if known is not None:
            pool_id, parts = known
            for part in parts:
                if agent is None or pool_id != agent.pool_id or part not in {machine.agent_id for machine in machines}:
                    self._books[pool_id].remove(part)
        if agent is not None:
            books = self._books_of(state, agent.pool_id)
            for machine in machines:
                books.put(machine)
            self._machines[agent_id] = (agent.pool_id, tuple(machine.agent_id for machine in machines))

    def _see_allocation(self, state: State, allocation_id: AllocationId, now: datetime) -> None:
        allocation, known = state.allocations.get(allocation_id), self._held.pop(allocation_id, None)
        if known is not None:
            self._held_by.pop(known.trial_id, None)
            if known.workspace is not None:
                self._held_in[known.workspace] -= known.num_slots
        if allocation is None:
            self._unsettled.pop(allocation_id, None)
            if known is not None:
                self._books[known.pool_id].unhold(known.trial_id)
            return
        if allocation_id in state.unsettled:
            self._unsettled[allocation_id] = None
        experiment = state.experiments.get(allocation.experiment_id)
        self._held[allocation_id] = held = _Held(
            allocation.pool_id,
            allocation.trial_id,
            tuple(member.agent_id for member in allocation.members),
            experiment.workspace if experiment else None,
            allocation.num_slots,
        )
        self._held_by[held.trial_id] = allocation_id
        if held.workspace is not None:
            self._held_in[held.workspace] = self._held_in.get(held.workspace, 0) + held.num_slots
        books, request = self._books_of(state, allocation.pool_id), view.running_request(state, allocation, now)
        books.set_job(allocation.experiment_id, self._terms_of(state, allocation.experiment_id))
        if books.running.get(allocation.trial_id) != request:
            books.hold(request)

    def _see_trial(self, state: State, trial_id: TrialId, now: datetime) -> None:
        trial, known = state.trials.get(trial_id), self._waiting.pop(trial_id, None)
        if known is not None:
            self._books[known].unwant(trial_id)
        if trial is None or not trial.waiting or trial.allocation_id is not None or not view.is_runnable(state, trial):
            return
        experiment = state.experiments[trial.experiment_id]
        self._waiting[trial_id] = trial.pool_id
        self._held_in.setdefault(experiment.workspace, 0)
        books = self._books_of(state, trial.pool_id)
        books.set_job(trial.experiment_id, self._terms_of(state, trial.experiment_id))
        is_due = False
        if (after_s := books.policy.reserve_after_s) is not None and trial.slots:
            is_due = is_overdue(books.policy, trial.slots, (now - trial.waiting_since).total_seconds())
            if not is_due:
                heappush(self._due, (trial.waiting_since + timedelta(seconds=after_s), trial_id))
        books.want(
            trial.experiment_id,
            trial_id,
            trial.slots,
            trial.place,
            preemptible=experiment.job.preemptible,
            is_overdue=is_due,
        )

    def _see_overdue(self, state: State, now: datetime) -> None:
        """Move those ahead who have by now waited too long."""
        while self._due and self._due[0][0] <= now:
            _, trial_id = heappop(self._due)
            if trial_id in self._waiting:
                self._see_trial(state, trial_id, now)


def _age(allocation: Allocation) -> int:
    return allocation.allocated_seq
