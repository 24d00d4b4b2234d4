"""Who waits in which order, why, and until when: one pass of the policies over the whole queue, told page by page.

The pass is the one that decides (`policies.schedule`), so what is told is what will be done. It looks at everybody who
waits, which a decision need not, and is made only when somebody asks; what a page alone needs is added for that page.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from services.scheduler import reasons
from services.scheduler.fitting import Fleet
from services.scheduler.forecast import MAX_WAITING, forecast, num_passes
from services.scheduler.policies import schedule
from services.scheduler.pool import Placement, Plan, Pool, WorkspaceUse
from services.scheduler.records import Trial
from services.scheduler.state import State
from services.scheduler.view import pool_view, workspace_uses
from shared.events import DEFAULT_POLICY, Share
from shared.ids import ExperimentId, PoolId, TrialId
from shared.queue import NUM_NAMED, Ahead, Needs, PoolQueue, QueueQuestion, Reason, ReasonKind, WaitingTrial

NUM_SHARES = 100  # jobs of a pool that are told of

_PAUSED = "its experiment is paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One pool's queue as explained at `now`. `queue` is everybody who waits, in the order of service; behind the
    first `len(plan.queue)` come those of paused experiments."""

    pool_id: PoolId
    now: datetime
    pool: Pool
    plan: Plan
    queue: tuple[Trial, ...]
    starts_s: Mapping[TrialId, float]  # from now, where foreseen
    endless: tuple[TrialId, str] | None  # somebody whose end is not known, and why
    victims: Mapping[TrialId, tuple[TrialId, ...]]  # who stops for whom already


def explain(state: State, now: datetime) -> list[Explained]:
    """Return every pool's queue, by the pools' names."""
    uses = workspace_uses(state)
    lines = [_explain_pool(state, pool_id, uses, now) for pool_id in state.waiting]
    return sorted(lines, key=lambda line: line.pool_id)


def _explain_pool(state: State, pool_id: PoolId, uses: dict[str, WorkspaceUse], now: datetime) -> Explained:
    """Explain one pool; what it would start now counts in `uses`, as it does where that is decided."""
    pool = pool_view(state, pool_id, {workspace: replace(use) for workspace, use in uses.items()}, now)
    plan = schedule(pool)
    for request in plan.queue:
        if request.trial_id in plan.allocate and (use := uses.get(request.workspace)):
            use.held += request.slots
    lefts_s, endless = _lefts_s(state, plan, pool_id, now)
    waiting = (state.trials[trial_id] for trial_id in state.waiting[pool_id])
    return Explained(
        pool_id=pool_id,
        now=now,
        pool=pool,
        plan=plan,
        queue=(
            *(state.trials[request.trial_id] for request in plan.queue),
            *(trial for trial in waiting if _is_paused(state, trial)),
        ),
        starts_s=forecast(pool, plan.queue, lefts_s) if plan.queue else {},
        endless=endless,
        victims=_victims(state, pool_id),
    )


def _is_paused(state: State, trial: Trial) -> bool:
    """Say whether a trial waits for nothing but its experiment; one of a canceled experiment waits for nothing."""
    experiment = state.experiments.get(trial.experiment_id)
    return experiment is not None and experiment.paused_seq is not None and experiment.canceled_seq is None


def _lefts_s(
    state: State, plan: Plan, pool_id: PoolId, now: datetime
) -> tuple[dict[TrialId, float], tuple[TrialId, str] | None]:
    """Return how much longer trials run or will run, where that is known, and somebody of whom it is not, and why."""
    running = [allocation for allocation in state.allocations.values() if allocation.pool_id == pool_id]
    known = {held.trial_id: state.durations.of_run(held.allocation_id, now) for held in running}
    foreseen = plan.queue[:MAX_WAITING]
    known |= {request.trial_id: state.durations.of_trial(request.trial_id) for request in foreseen}
    unknown = next(((trial_id, left.why) for trial_id, left in known.items() if left.left_s is None), None)
    return {trial_id: left.left_s for trial_id, left in known.items() if left.left_s is not None}, unknown


def _victims(state: State, pool_id: PoolId) -> dict[TrialId, tuple[TrialId, ...]]:
    found: dict[TrialId, tuple[TrialId, ...]] = {}
    for allocation in state.allocations.values():
        if allocation.stops_for and allocation.pool_id == pool_id:
            found[allocation.stops_for] = (*found.get(allocation.stops_for, ()), allocation.trial_id)
    return found


def matching(explained: list[Explained], question: QueueQuestion) -> list[tuple[Explained, int]]:
    """Return the places of the trials that a question is about, pool by pool, in the order of service."""
    return [
        (line, place)
        for line in explained
        if question.pool_id in (None, line.pool_id)
        for place, trial in enumerate(line.queue)
        if question.trial_id in (None, trial.trial_id) and question.experiment_id in (None, trial.experiment_id)
    ]


def tell(state: State, found: list[tuple[Explained, int]]) -> Iterator[WaitingTrial]:
    """Yield what is known of the trials at these places, which are in the order of service."""
    ahead: set[ExperimentId] = set()
    line: Explained | None = None
    fleet, counted = Fleet((), DEFAULT_POLICY), 0
    for pool_line, place in found:
        if pool_line is not line:
            line, ahead, counted = pool_line, set(), 0
            fleet = Fleet(line.pool.machines, line.pool.policy)
        ahead |= {trial.experiment_id for trial in line.queue[counted:place]}
        counted = place
        yield _tell_one(state, line, place, fleet, len(ahead))


def _tell_one(state: State, line: Explained, place: int, fleet: Fleet, num_experiments: int) -> WaitingTrial:
    trial = line.queue[place]
    reason = _reason(line, place)
    ideal = fleet.ideal(trial.slots)
    start_s = line.starts_s.get(trial.trial_id)
    experiment = state.experiments.get(trial.experiment_id)
    named = tuple(other.trial_id for other in line.queue[: min(place, NUM_NAMED)])
    return WaitingTrial(
        position=place + 1,
        trial_id=trial.trial_id,
        experiment_id=trial.experiment_id,
        pool_id=line.pool_id,
        slots=trial.slots,
        priority=experiment.job.priority if experiment else 0,
        waiting_since=trial.waiting_since,
        reason=reason,
        text=reasons.sentence(reason),
        ahead=Ahead(num_trials=place, num_experiments=num_experiments, trials=named),
        needs=None if ideal is None else _needs(trial.slots, ideal, line.pool),
        victims=reason.victims or line.victims.get(trial.trial_id, ()),
        expected_start=None if start_s is None else line.now + timedelta(seconds=start_s),
        expected_why=_expected_why(line, trial.trial_id, place, reason),
    )


def _reason(line: Explained, place: int) -> Reason:
    """The policy's reason; once others were asked to stop for a trial, they are named."""
    trial = line.queue[place]
    if place >= len(line.plan.queue):
        return Reason(kind=ReasonKind.PAUSED, slots=trial.slots)
    if trial.trial_id in line.plan.allocate:
        return Reason(kind=ReasonKind.STARTING, slots=trial.slots)
    reason = line.plan.waiting[trial.trial_id]
    if reason.kind is ReasonKind.AWAITING and (victims := line.victims.get(trial.trial_id)):
        return msgspec.structs.replace(reason, kind=ReasonKind.MAKING_ROOM, victims=victims)
    return reason


def _needs(slots: int, ideal: Placement, pool: Pool) -> Needs:
    machines = [machine for machine in pool.machines if machine.is_open]
    alone = {machine.kind for machine in machines if machine.slots >= slots}
    used = {machine.kind for machine in machines if machine.agent_id in ideal}
    return Needs(
        slots=slots,
        num_agents=len(ideal),
        kinds=tuple(sorted(alone if len(ideal) == 1 else used)),
        whole_agents=len(ideal) > 1,
    )


def _expected_why(line: Explained, trial_id: TrialId, place: int, reason: Reason) -> str:
    if trial_id in line.starts_s:
        return "if trials go on as they do, and nobody else comes"
    if reason.kind is ReasonKind.PAUSED:
        return _PAUSED
    if reason.kind in (ReasonKind.NEVER_FITS, ReasonKind.NO_AGENTS, ReasonKind.AGENTS_CLOSED):
        return "not as the pool is now"
    if not num_passes(line.pool):
        return "the pool is too large to be foreseen"
    if place >= MAX_WAITING:
        return f"only the first {MAX_WAITING} of a pool's queue are foreseen"
    if line.endless and line.endless[0] != trial_id:
        return f"when trial {line.endless[0]} ends is not known: {line.endless[1]}"
    return "nothing of which the end is known makes room for it"


def pool_queue(line: Explained) -> PoolQueue:
    """Return a pool as a whole."""
    machines = [machine for machine in line.pool.machines if machine.is_open]
    shares: list[Share] = sorted(line.plan.shares.values(), key=lambda share: share.experiment_id)
    return PoolQueue(
        pool_id=line.pool_id,
        policy=line.pool.policy.type,
        num_waiting=len(line.queue),
        num_slots=sum(machine.slots for machine in machines),
        num_free=sum(machine.free for machine in machines),
        num_agents=len(machines),
        shares=tuple(shares[:NUM_SHARES]),
    )
