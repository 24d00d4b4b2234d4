"""Who waits in which order, why, and until when, told page by page.

A pass of the very policies that decide says why those on a page wait (`policies.look`), on the books that the decisions
are made on; so what is told is what will be done, at a cost of what is told. The order of a whole queue is a sort, and
its future some passes more: whoever asks often keeps a `Line` for a while.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from services.scheduler import reasons
from services.scheduler.books import Books
from services.scheduler.fitting import Fleet
from services.scheduler.forecast import MAX_WAITING, Foresight, foresee
from services.scheduler.memory import State
from services.scheduler.policies import look
from services.scheduler.pool import Plan
from services.scheduler.records import Trial
from shared.events import PolicyType, Share
from shared.ids import ExperimentId, PoolId, TrialId
from shared.queue import NUM_NAMED, Ahead, Needs, PoolQueue, QueueQuestion, Reason, ReasonKind, WaitingTrial

NUM_SHARES = 100  # jobs of a pool that are told of

_NEVER = (ReasonKind.NEVER_FITS, ReasonKind.NO_AGENTS, ReasonKind.AGENTS_CLOSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One pool's queue at `now`: everybody who waits, in the order of service, those of paused experiments last."""

    pool_id: PoolId
    now: datetime
    queue: tuple[Trial, ...]
    foresight: Foresight
    victims: Mapping[TrialId, tuple[TrialId, ...]]  # who stops for whom already


def line_up(state: State, books: Mapping[PoolId, Books], now: datetime) -> list[Line]:
    """Return every pool's queue, by the pools' names."""
    return [_line(state, pool_id, _books(state, books, pool_id), now) for pool_id in sorted(state.waiting)]


def _line(state: State, pool_id: PoolId, books: Books, now: datetime) -> Line:
    runnable = tuple(state.trials[trial_id] for trial_id in _order(books))
    return Line(
        pool_id=pool_id,
        now=now,
        queue=(*runnable, *_paused(state, pool_id)),
        foresight=foresee(state, pool_id, runnable, now),
        victims=_victims(state, pool_id),
    )


def _order(books: Books) -> list[TrialId]:
    """Return who waits and may start, in the order in which the policy looks at them."""
    books.open()
    if books.policy.type is not PolicyType.FAIR_SHARE:
        return books.queue.in_order_of()
    firsts = look(books, asked=books.queue.firsts()).queue
    turn = {job_id: number for number, job_id in enumerate(dict.fromkeys(first.job_id for first in firsts))}
    return books.queue.in_order_of(turn)


def _books(state: State, books: Mapping[PoolId, Books], pool_id: PoolId) -> Books:
    return books.get(pool_id) or Books(state.policy(pool_id))


def _paused(state: State, pool_id: PoolId) -> list[Trial]:
    if all(experiment.paused_seq is None for experiment in state.experiments.values()):
        return []
    waiting = (state.trials[trial_id] for trial_id in state.waiting[pool_id])
    return [trial for trial in waiting if _is_paused(state, trial)]


def _is_paused(state: State, trial: Trial) -> bool:
    """Say whether a trial waits for nothing but its experiment; one of a canceled experiment waits for nothing."""
    experiment = state.experiments.get(trial.experiment_id)
    return experiment is not None and experiment.paused_seq is not None and experiment.canceled_seq is None


def _victims(state: State, pool_id: PoolId) -> dict[TrialId, tuple[TrialId, ...]]:
    found: dict[TrialId, tuple[TrialId, ...]] = {}
    for allocation in state.allocations.values():
        if allocation.stops_for and allocation.pool_id == pool_id:
            found[allocation.stops_for] = (*found.get(allocation.stops_for, ()), allocation.trial_id)
    return found


#: Places in the queues of pools, in the order of service.
Places = list[tuple[Line, Sequence[int]]]


def matching(lines: list[Line], question: QueueQuestion) -> Places:
    """Return the places of the trials that a question is about."""
    asked = [line for line in lines if question.pool_id in (None, line.pool_id)]
    if question.trial_id is None and question.experiment_id is None:
        return [(line, range(len(line.queue))) for line in asked]
    return [(line, [place for place, trial in enumerate(line.queue) if _is_about(trial, question)]) for line in asked]


def _is_about(trial: Trial, question: QueueQuestion) -> bool:
    return question.trial_id in (None, trial.trial_id) and question.experiment_id in (None, trial.experiment_id)


def place_after(found: Places, trial_id: str, otherwise: int) -> int:
    """Return how many places there are up to a trial, itself included; if it is at none of them, `otherwise`."""
    counted = 0
    for line, places in found:
        for number, place in enumerate(places, start=counted + 1):
            if line.queue[place].trial_id == trial_id:
                return number
        counted += len(places)
    return otherwise


def page(found: Places, after: int, limit: int) -> Places:
    """Return so many places, after so many others."""
    some: Places = []
    for line, places in found:
        some.append((line, places[after : after + limit]))
        limit -= len(some[-1][1])
        after = max(0, after - len(places))
    return some


def tell(state: State, books: Mapping[PoolId, Books], found: Places) -> Iterator[WaitingTrial | None]:
    """Yield what is known of each of the trials at these places, None of those that wait no more."""
    for line, places in found:
        if places:
            yield from _tell_pool(state, _books(state, books, line.pool_id), line, places)


def _tell_pool(state: State, books: Books, line: Line, places: Sequence[int]) -> Iterator[WaitingTrial | None]:
    plan = look(books, asked={line.queue[place].trial_id for place in places})
    needs = lru_cache(lambda slots: _needs(slots, books.fleet))
    ahead: set[ExperimentId] = set()
    counted = 0
    for place in places:
        ahead |= {trial.experiment_id for trial in line.queue[counted:place]}
        counted = place
        trial = line.queue[place]
        reason = _reason(state, plan, line, trial)
        named = tuple(other.trial_id for other in line.queue[: min(place, NUM_NAMED)])
        before = Ahead(num_trials=place, num_experiments=len(ahead), trials=named)
        yield None if reason is None else _told(state, line, trial, reason, before, needs(trial.slots))


def _told(state: State, line: Line, trial: Trial, reason: Reason, ahead: Ahead, needs: Needs | None) -> WaitingTrial:
    start_s = line.foresight.starts_s.get(trial.trial_id)
    experiment = state.experiments.get(trial.experiment_id)
    return WaitingTrial(
        position=ahead.num_trials + 1,
        trial_id=trial.trial_id,
        experiment_id=trial.experiment_id,
        pool_id=line.pool_id,
        slots=trial.slots,
        priority=experiment.job.priority if experiment else 0,
        waiting_since=trial.waiting_since,
        reason=reason,
        text=reasons.sentence(reason),
        ahead=ahead,
        needs=needs,
        victims=reason.victims or line.victims.get(trial.trial_id, ()),
        expected_start=None if start_s is None else line.now + timedelta(seconds=start_s),
        expected_why=_expected_why(line, trial, ahead.num_trials, reason),
    )


def _reason(state: State, plan: Plan, line: Line, trial: Trial) -> Reason | None:
    """The policy's reason; once others were asked to stop for a trial, they are named. None: it waits no more."""
    if trial.trial_id in plan.allocate:
        return Reason(kind=ReasonKind.STARTING, slots=trial.slots)
    reason = plan.waiting.get(trial.trial_id)
    if reason is None:
        now = state.trials.get(trial.trial_id)
        is_paused = now is not None and now.waiting and now.allocation_id is None and _is_paused(state, now)
        return Reason(kind=ReasonKind.PAUSED, slots=trial.slots) if is_paused else None
    if reason.kind is ReasonKind.AWAITING and (victims := line.victims.get(trial.trial_id)):
        return msgspec.structs.replace(reason, kind=ReasonKind.MAKING_ROOM, victims=victims)
    return reason


def _needs(slots: int, fleet: Fleet) -> Needs | None:
    ideal = fleet.ideal(slots)
    if ideal is None:
        return None
    alone = {kind for size, kind in fleet.groups() if size >= slots}
    used = {fleet.machines[machine_id].kind for machine_id in ideal}
    kinds = alone if len(ideal) == 1 else used
    return Needs(slots=slots, num_agents=len(ideal), kinds=tuple(sorted(kinds)), whole_agents=len(ideal) > 1)


def _expected_why(line: Line, trial: Trial, place: int, reason: Reason) -> str:
    foresight, trial_id = line.foresight, trial.trial_id
    if trial_id in foresight.starts_s:
        return "if trials go on as they do, and nobody else comes"
    if reason.kind is ReasonKind.PAUSED:
        return "its experiment is paused"
    if reason.kind in _NEVER:
        return "not as the pool is now"
    if foresight.is_blind:
        return "the pool is too large to be foreseen"
    if place >= MAX_WAITING:
        return f"only the first {MAX_WAITING} of a pool's queue are foreseen"
    if foresight.endless and foresight.endless[0] != trial_id:
        return f"when trial {foresight.endless[0]} ends is not known: {foresight.endless[1]}"
    return "nothing of which the end is known makes room for it"


def pool_queue(state: State, books: Mapping[PoolId, Books], line: Line) -> PoolQueue:
    """Return a pool as a whole."""
    pool = _books(state, books, line.pool_id)
    shares: list[Share] = []
    if pool.policy.type is PolicyType.FAIR_SHARE:
        plan = look(pool, asked=pool.queue.firsts() or None)
        shares = sorted(plan.shares.values(), key=lambda share: share.experiment_id)
    return PoolQueue(
        pool_id=line.pool_id,
        policy=pool.policy.type,
        num_waiting=len(line.queue),
        num_slots=pool.fleet.num_slots,
        num_free=pool.fleet.num_free,
        num_agents=sum(machine.is_open for machine in pool.fleet.machines.values()),
        shares=tuple(shares[:NUM_SHARES]),
    )
