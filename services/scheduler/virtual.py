"""A workload in virtual time: the scheduler's own `evolve` and `decide`, and trials that run as long as theirs did.

What happens whatever the scheduler decides (submissions, changes, agents that come and go) happens at its time. What
the scheduler decides is decided anew. A trial that is asked to stop does so after the workload's `stop_s`, and goes on
later where it was; one whose agent is lost begins that run again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from services.scheduler.fidelity import decide_again
from services.scheduler.gang import ended, interrupted, stopped
from services.scheduler.measure import Meter
from services.scheduler.memory import State
from services.scheduler.state import evolve
from services.scheduler.workload import Demand, Workload
from shared.events import (
    AgentDrainRequested,
    DefaultPolicySet,
    Event,
    ExperimentCanceled,
    GPUAllocated,
    GPUReleased,
    PoolConfigured,
    PoolPolicy,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
    TrialClosed,
    TrialEnd,
)
from shared.ids import ExperimentId, PoolId, TrialId
from shared.log import Recorded, envelope_of

MAX_ROUNDS = 10_000  # of decisions at one moment; a policy settles in a few
_FOR_GOOD = (PreemptionReason.CANCELED, PreemptionReason.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Another policy than the log's, for one pool or (None) for all."""

    policy: PoolPolicy
    pool_id: PoolId | None = None

    def replaces(self, event: Event | None) -> bool:
        """Say whether an event of the log is void because of it."""
        if self.pool_id is None:
            return isinstance(event, PoolConfigured | DefaultPolicySet)
        return isinstance(event, PoolConfigured) and event.pool_id == self.pool_id


@dataclass(slots=True, kw_only=True)
class _Trial:
    """Where a trial is. `life` tells what was planned for this run from what an end made void."""

    number: int = -1  # of its demand
    done_s: float = 0.0
    allocated: GPUAllocated | None = None
    began_s: float = 0.0
    life: int = 0
    is_closed: bool = False


@dataclass(slots=True, kw_only=True)
class Virtual:
    """Runs a workload on from the event `position`, where the log has come to `state`. `meter` sees it all.

    `before` is the workload up to there.
    """

    workload: Workload
    before: Workload
    state: State
    meter: Meter
    start: datetime
    position: int
    override: Override | None = None
    now_s: float = 0.0
    _num_said: int = 0
    _trials: dict[TrialId, _Trial] = field(default_factory=dict)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)
    _anchored: dict[tuple[TrialId, int], list[Demand]] = field(default_factory=dict)
    _num_open: dict[ExperimentId, int] = field(default_factory=dict)  # trials that are not closed, or still to come

    def run(self, more: Sequence[Event] = ()) -> None:
        """Let everything happen, beginning with `more`."""
        if self.override is not None and self.override.pool_id is not None:
            self.state.policies[self.override.pool_id] = self.override.policy
        elif self.override is not None:
            self.state.policies.clear()
            self.state.default_policy = self.override.policy
        for event in more:
            self._say(event)
        self._plan()
        self._settle()
        while self._due:
            self.now_s = self._due[0][0]
            while self._due and self._due[0][0] <= self.now_s:
                heappop(self._due)[2]()
            self._settle()

    def _plan(self) -> None:
        for recorded in self.workload.given:
            if recorded.seq > self.position and not (self.override and self.override.replaces(recorded.event)):
                assert recorded.event is not None
                self._at(self._seconds(recorded.envelope.time), self._giving(recorded.event))
        for trial_id, demands in self.workload.demands.items():
            first = demands[0].event
            closed = self.before.closed.get(trial_id)
            self._trials[trial_id] = _Trial(is_closed=closed is not None)
            self._num_open[first.experiment_id] = self._num_open.get(first.experiment_id, 0) + (closed is None)
            for number, demand in enumerate(demands):
                self._expect(trial_id, number, demand)
        for trial_id, (began, done_s) in self.before.running.items():
            self._go_on(trial_id, self._seconds(began), done_s)

    def _expect(self, trial_id: TrialId, number: int, demand: Demand) -> None:
        trial = self._trials[trial_id]
        if demand.said.seq <= self.position:
            trial.number = number
            known = self.before.demands[trial_id][number]
            trial.done_s = known.work_s
        elif demand.anchor is None or demand.anchor.seq <= self.position:
            self._at(self._seconds(demand.said.envelope.time), lambda: self._want(demand))
        else:
            self._anchored.setdefault((demand.anchor.trial_id, demand.anchor.number), []).append(demand)

    def _go_on(self, trial_id: TrialId, began_s: float, done_s: float) -> None:
        """Take up a run that was under way at the start."""
        trial, known = self._trials[trial_id], self.state.trials.get(trial_id)
        allocation = self.state.allocations.get(known.allocation_id) if known and known.allocation_id else None
        if allocation is None:
            return
        trial.allocated = GPUAllocated(
            pool_id=allocation.pool_id,
            allocation_id=allocation.allocation_id,
            trial_id=trial_id,
            experiment_id=allocation.experiment_id,
            epoch=allocation.epoch,
            members=allocation.members,
        )
        trial.done_s = done_s
        self._begin(trial_id, began_s)
        if allocation.preemption_seq is not None:
            self._at(self.workload.stop_s, self._stopping(trial_id, trial.life, PreemptionReason.PRIORITY))

    def _begin(self, trial_id: TrialId, began_s: float) -> None:
        """Plan the end of a run, and what others will want because of it."""
        trial = self._trials[trial_id]
        trial.began_s, trial.life = began_s, trial.life + 1
        work_s = self._work_s(trial_id, trial.number)
        for demand in list(self._anchored.get((trial_id, trial.number), ())):
            assert demand.anchor is not None
            reached_s = began_s + min(demand.anchor.work_s, work_s) - trial.done_s
            self._at(reached_s, self._reaching(trial_id, trial.life, demand))
        self._at(began_s + work_s - trial.done_s, self._ending(trial_id, trial.life))

    def _work_s(self, trial_id: TrialId, number: int) -> float:
        return self.workload.demands[trial_id][number].work_s if number >= 0 else 0.0

    def _giving(self, event: Event) -> Callable[[], None]:
        return lambda: self._give(event)

    def _reaching(self, trial_id: TrialId, life: int, demand: Demand) -> Callable[[], None]:
        def reach() -> None:
            if self._trials[trial_id].life == life:
                self._release_demand(demand)

        return reach

    def _release_demand(self, demand: Demand) -> None:
        assert demand.anchor is not None
        waiting = self._anchored.get((demand.anchor.trial_id, demand.anchor.number), [])
        if demand in waiting:
            waiting.remove(demand)
            self._at(self.now_s + demand.delay_s, lambda: self._want(demand))

    def _ending(self, trial_id: TrialId, life: int) -> Callable[[], None]:
        def end() -> None:
            trial = self._trials[trial_id]
            if trial.life == life and trial.allocated is not None:
                self._finish(trial_id, trial.allocated)

        return end

    def _finish(self, trial_id: TrialId, allocated: GPUAllocated) -> None:
        trial = self._trials[trial_id]
        trial.life, trial.allocated = trial.life + 1, None
        for event in ended(allocated):
            self._say(event)
        for demand in list(self._anchored.get((trial_id, trial.number), ())):
            self._release_demand(demand)
        if trial.number == len(self.workload.demands[trial_id]) - 1:
            self._close(trial_id)

    def _stopping(self, trial_id: TrialId, life: int, reason: PreemptionReason) -> Callable[[], None]:
        def stop() -> None:
            trial = self._trials[trial_id]
            if trial.life != life or trial.allocated is None:
                return
            allocated, trial.allocated, trial.life = trial.allocated, None, trial.life + 1
            if reason is PreemptionReason.AGENT_LOST:
                events = interrupted(allocated)
            else:
                trial.done_s += self.now_s - trial.began_s
                events = stopped(allocated)
            for event in events:
                self._say(event)
            if reason in _FOR_GOOD:
                self._close(trial_id)

        return stop

    def _close(self, trial_id: TrialId) -> None:
        trial, experiment_id = self._trials[trial_id], self.workload.demands[trial_id][0].event.experiment_id
        if trial.is_closed:
            return
        trial.is_closed = True
        unknown = TrialClosed(
            experiment_id=experiment_id,
            trial_id=trial_id,
            end=TrialEnd.CANCELED,
            reason="the log goes no further",
            metric=None,
            step=None,
        )
        self._say(self.workload.closed.get(trial_id, unknown))
        self._num_open[experiment_id] -= 1
        if not self._num_open[experiment_id] and experiment_id in self.workload.ends:
            self._say(self.workload.ends[experiment_id])

    def _want(self, demand: Demand) -> None:
        event = demand.event
        trial = self._trials[event.trial_id]
        if trial.is_closed or event.experiment_id not in self.state.experiments:
            return
        trial.number += 1
        trial.done_s = 0.0
        self._say(event)
        reserve_after_s = self.state.policy(self.state.trials[event.trial_id].pool_id).reserve_after_s
        if reserve_after_s is not None:
            self._at(self.now_s + reserve_after_s, _look_again)

    def _give(self, event: Event) -> None:
        self._say(event)
        if isinstance(event, AgentDrainRequested) and event.grace_s is not None:
            self._at(self.now_s + event.grace_s, _look_again)
        if isinstance(event, ExperimentCanceled):
            for trial_id, demands in self.workload.demands.items():
                trial = self._trials[trial_id]
                if demands[0].event.experiment_id == event.experiment_id and trial.allocated is None:
                    self._close(trial_id)

    def _settle(self) -> None:
        for _ in range(MAX_ROUNDS):
            decisions = decide_again(self.state, (), self._now)
            if not decisions:
                return
            for decision in decisions:
                self._say(decision.event)
                self._obey(decision.event)
        raise RuntimeError(f"the scheduler does not settle at {self._now}")

    def _obey(self, event: Event) -> None:
        match event:
            case GPUAllocated():
                self._trials[event.trial_id].allocated = event
                self._begin(event.trial_id, self.now_s)
            case PreemptionRequested():
                life = self._trials[event.trial_id].life
                self._at(self.now_s + self.workload.stop_s, self._stopping(event.trial_id, life, event.reason))
            case GPUReleased(reason=ReleaseReason.AGENT_LOST):
                trial = self._trials[event.trial_id]
                trial.life, trial.allocated = trial.life + 1, None
            case _:
                pass

    @property
    def _now(self) -> datetime:
        return self.start + timedelta(seconds=self.now_s)

    def _seconds(self, time: datetime) -> float:
        return (time - self.start).total_seconds()

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        heappush(self._due, (max(at_s, self.now_s), next(self._order), act))

    def _say(self, event: Event) -> None:
        self._num_said += 1
        envelope = envelope_of(event, writer="whatif", actor="whatif", correlation="whatif", time=self._now)
        evolve(self.state, Recorded(seq=self.position + self._num_said, envelope=envelope))
        self.meter.see(event, self.now_s)


def _look_again() -> None:
    """Time has come at which the scheduler may decide something."""
