"""What every policy promises, whatever the pool looks like."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scheduler.fitting import Fleet
from services.scheduler.policies import schedule
from services.scheduler.pool import Machine, Placement, Pool, Request
from shared.events import Fitting, PolicyType, PoolPolicy
from shared.ids import AgentId, ExperimentId, TrialId
from shared.queue import ReasonKind

RESERVE_AFTER_S = 100.0


@st.composite
def pools(draw: st.DrawFn, policy_type: PolicyType | None = None) -> Pool:
    """A pool with some trials running and some waiting."""
    policy = PoolPolicy(
        type=policy_type or draw(st.sampled_from(PolicyType)),
        preemption=draw(st.sampled_from([True, True, False])),
        fitting=draw(st.sampled_from(Fitting)),
        heterogeneous_fits=draw(st.booleans()),
        reserve_after_s=draw(st.sampled_from([None, RESERVE_AFTER_S])),
    )
    sizes = draw(st.lists(st.sampled_from([4, 2, 1, 8, 0]), min_size=1, max_size=6))
    machines = {
        AgentId(f"a{index}"): Machine(
            agent_id=AgentId(f"a{index}"),
            slots=size,
            free=size,
            kind=draw(st.sampled_from(["", "", "big"])),
            switch=draw(st.sampled_from(["", "x", "y"])),
            zero_slot_limit=2,
            is_open=draw(st.sampled_from([True, True, True, False])),
        )
        for index, size in enumerate(sizes)
    }
    jobs = draw(st.lists(_jobs(), min_size=3, max_size=5, unique_by=lambda job: job.job_id))
    requests: list[Request] = []
    num_running = draw(st.integers(0, 8))
    for number in range(num_running + draw(st.integers(1, 6))):
        request = replace(
            draw(st.sampled_from(jobs)),
            trial_id=TrialId(f"t{number}"),
            slots=draw(st.sampled_from([1, 2, 4, 3, 0, 8, 16])),
            number=number,
            waited_s=draw(st.sampled_from([0.0, RESERVE_AFTER_S])),
        )
        placement = Fleet(machines.values(), policy).fit(request.slots) if number < num_running else None
        if placement is not None:
            machines = _occupied(machines, placement)
            request = replace(request, placement=placement, is_stopping=draw(st.sampled_from([False, False, True])))
        requests.append(request)
    return Pool(policy=policy, machines=tuple(machines.values()), requests=tuple(requests))


@st.composite
def _jobs(draw: st.DrawFn) -> Request:
    name = draw(st.integers(1, 99))
    return Request(
        trial_id=TrialId(""),
        job_id=ExperimentId(f"j{name}"),
        slots=0,
        position=float(name),
        number=0,
        priority=1 + name % 3,
        weight=draw(st.sampled_from([0.0, 1.0, 3.0])),
        max_slots=draw(st.sampled_from([None, None, 4])),
        preemptible=name % 5 != 0,
    )


def _occupied(machines: dict[AgentId, Machine], placement: Placement) -> dict[AgentId, Machine]:
    return machines | {
        agent_id: replace(
            machines[agent_id],
            free=machines[agent_id].free - slots,
            num_zero_slot=machines[agent_id].num_zero_slot + (slots == 0),
        )
        for agent_id, slots in placement.items()
    }


def enacted(pool: Pool) -> Pool:
    """The pool once a pass is done: its allocations run, those it released wait again."""
    plan, machines = schedule(pool), {machine.agent_id: machine for machine in pool.machines}
    requests = []
    for request in pool.requests:
        placement = plan.allocate.get(request.trial_id) or request.placement
        if request.trial_id in plan.release or request.is_stopping:
            placement = None
        waited_s = 0.0 if placement or request.placement else request.waited_s
        requests.append(replace(request, placement=placement, is_stopping=False, waited_s=waited_s))
    machines = {key: replace(machine, free=machine.slots, num_zero_slot=0) for key, machine in machines.items()}
    for request in requests:
        machines = _occupied(machines, request.placement or {})
    return replace(pool, machines=tuple(machines.values()), requests=tuple(requests))


@settings(max_examples=300, deadline=None)
@given(pools())
def test_no_slot_is_given_twice_and_gangs_are_whole(pool: Pool) -> None:
    plan, machines = schedule(pool), {machine.agent_id: machine for machine in pool.machines}
    requests = {request.trial_id: request for request in pool.requests}
    used: Counter[AgentId] = Counter()
    for trial_id, placement in plan.allocate.items():
        assert sum(placement.values()) == requests[trial_id].slots
        assert requests[trial_id].placement is None
        assert len({machines[agent_id].kind for agent_id in placement}) == 1
        assert all(machines[agent_id].is_open for agent_id in placement)
        if len(placement) > 1:
            assert all(slots == machines[agent_id].slots for agent_id, slots in placement.items())
        used.update(placement)
    assert all(number <= machines[agent_id].free for agent_id, number in used.items())


@settings(max_examples=300, deadline=None)
@given(pools())
def test_whoever_waits_is_told_why_and_whoever_starts_is_not(pool: Pool) -> None:
    plan = schedule(pool)
    waiting = {request.trial_id for request in pool.waiting()}
    assert plan.allocate.keys() | plan.waiting.keys() == waiting
    assert not plan.allocate.keys() & plan.waiting.keys()


@settings(max_examples=300, deadline=None)
@given(pools())
def test_only_running_trials_that_may_be_preempted_are_released(pool: Pool) -> None:
    plan, requests = schedule(pool), {request.trial_id: request for request in pool.requests}
    for trial_id in plan.release:
        victim = requests[trial_id]
        assert pool.policy.preemption and victim.preemptible and victim.placement and not victim.is_stopping


@settings(max_examples=200, deadline=None)
@given(pools(), st.randoms(use_true_random=False))
def test_the_same_pool_gives_the_same_plan_in_whatever_order_it_is_told(pool: Pool, random: "object") -> None:
    machines, requests = list(pool.machines), list(pool.requests)
    random.shuffle(machines)  # type: ignore[attr-defined] # a random.Random
    random.shuffle(requests)  # type: ignore[attr-defined]
    assert schedule(replace(pool, machines=tuple(machines), requests=tuple(requests))) == schedule(pool)


@settings(max_examples=200, deadline=None)
@given(pools())
def test_max_slots_is_never_exceeded_by_a_start(pool: Pool) -> None:
    plan, held = schedule(pool), Counter[str]()
    for request in pool.requests:
        if request.placement is not None or request.trial_id in plan.allocate:
            held[request.job_id] += request.slots
    for request in pool.requests:
        if request.trial_id in plan.allocate and request.slots and request.max_slots is not None:
            assert held[request.job_id] <= request.max_slots


@settings(max_examples=300, deadline=None)
@given(pools(PolicyType.PRIORITY))
def test_priority_is_never_inverted(pool: Pool) -> None:
    """A victim is less important than whom it makes room for, or behind it in their lane; and without preemption nobody
    starts who is less important than one that waits for room."""
    plan, requests = schedule(pool), {request.trial_id: request for request in pool.requests}
    for victim_id, by in plan.release.items():
        assert by is not None
        victim, winner = requests[victim_id], requests[by]
        assert (victim.priority, victim.position) > (winner.priority, winner.position)
        assert winner.trial_id not in plan.allocate, "a preemption and the start it enables are in one pass"
    if pool.policy.preemption:
        return
    fleet = Fleet(pool.machines, pool.policy)
    for request in pool.waiting():
        reason = plan.waiting.get(request.trial_id)
        if reason and reason.kind is not ReasonKind.QUOTA and request.slots and fleet.could_hold(request.slots):
            started = [requests[other] for other in plan.allocate if requests[other].slots]
            assert all(other.priority <= request.priority for other in started)


@settings(max_examples=200, deadline=None)
@given(pools(PolicyType.PRIORITY))
def test_backfilled_trials_and_preemptions_never_delay_a_more_important_one(pool: Pool) -> None:
    """Whatever starts below a waiting trial can be preempted again, and what is released is enough for the winner."""
    plan, requests = schedule(pool), {request.trial_id: request for request in pool.requests}
    for by in set(plan.release.values()):
        assert by is not None
        victims = [requests[victim] for victim, winner in plan.release.items() if winner == by]
        assert victims
    if any(request.is_stopping for request in pool.requests):
        return  # those come back to their old place, which may be a better one
    after = schedule(enacted(pool))
    winners = {by for by in plan.release.values() if by is not None}
    best = min(winners, key=lambda by: (requests[by].priority, requests[by].order), default=None)
    if best is not None and not pool.policy.heterogeneous_fits and pool.policy.reserve_after_s is None:
        assert best in after.allocate, "room was made in vain"


@settings(max_examples=200, deadline=None)
@given(pools())
def test_a_pool_settles(pool: Pool) -> None:
    """Passes alone, with nobody coming or going, come to rest: nobody is preempted in circles."""
    for _ in range(40):
        plan = schedule(pool)
        if not plan.allocate and not plan.release:
            return
        pool = enacted(pool)
    raise AssertionError("the pool never settles")


@settings(max_examples=100, deadline=None)
@given(pools(PolicyType.FAIR_SHARE))
def test_fair_share_gives_no_job_more_while_an_equal_one_wants_the_slots(pool: Pool) -> None:
    """Max-min: on one machine with trials of one slot, shares of jobs with equal weights differ by at most one slot."""
    requests = tuple(
        replace(request, slots=1, weight=1.0, max_slots=None, placement=None, is_stopping=False)
        for request in pool.requests
    )
    machine = Machine(agent_id=AgentId("a"), slots=7, free=7)
    plan = schedule(Pool(policy=PoolPolicy(type=PolicyType.FAIR_SHARE), machines=(machine,), requests=requests))
    held, wants = Counter[str](), Counter[str]()
    for request in requests:
        held[request.job_id] += request.trial_id in plan.allocate
        wants[request.job_id] += 1
    assert sum(held.values()) == min(7, len(requests))
    hungry = [job for job in wants if held[job] < wants[job]]
    assert all(held[rich] <= held[poor] + 1 for poor in hungry for rich in wants)


@pytest.mark.parametrize("policy_type", [PolicyType.PRIORITY, PolicyType.FAIR_SHARE])
@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=4), data=st.data())
def test_with_a_reservation_no_gang_starves_beside_a_stream_of_its_equals(
    policy_type: PolicyType, sizes: list[int], data: st.DataObject
) -> None:
    """Each round one running trial ends and a new small one comes; the gang starts before long all the same."""
    policy = PoolPolicy(type=policy_type, reserve_after_s=RESERVE_AFTER_S)
    machines = {AgentId(f"a{i}"): Machine(agent_id=AgentId(f"a{i}"), slots=s, free=s) for i, s in enumerate(sizes)}
    gang = replace(_small(0), trial_id=TrialId("gang"), slots=max(sizes), waited_s=RESERVE_AFTER_S)
    requests = [_small(number) for number in range(1, 2 * sum(sizes))]
    pool = enacted(Pool(policy=policy, machines=tuple(machines.values()), requests=tuple(requests)))
    pool = replace(pool, requests=(*pool.requests, gang))
    for number in range(4 * sum(sizes)):
        pool = enacted(pool)
        running = pool.running()
        if any(request.trial_id == "gang" for request in running):
            return
        gone = running[0] if number % 2 else data.draw(st.sampled_from(running))  # nobody runs for ever
        left = [request for request in pool.requests if request.trial_id != gone.trial_id]
        free = {m.agent_id: replace(m, free=m.free + (gone.placement or {}).get(m.agent_id, 0)) for m in pool.machines}
        pool = replace(pool, machines=tuple(free.values()), requests=(*left, _small(1000 + number)))
    raise AssertionError("the gang starves")


@pytest.mark.parametrize("policy_type", [PolicyType.PRIORITY, PolicyType.FAIR_SHARE])
@pytest.mark.parametrize("sizes", [(1, 2, 4), (4, 4), (2, 2, 2, 4)])
def test_with_a_reservation_no_gang_starves_although_others_end_where_it_does_not_help(
    policy_type: PolicyType, sizes: tuple[int, ...]
) -> None:
    """The worst case of the test above: every other trial that ends is the newest beside the agents kept."""
    machines = tuple(Machine(agent_id=AgentId(f"a{i}"), slots=s, free=s) for i, s in enumerate(sizes))
    gang = replace(_small(0), trial_id=TrialId("gang"), slots=max(sizes), waited_s=RESERVE_AFTER_S)
    policy = PoolPolicy(type=policy_type, reserve_after_s=RESERVE_AFTER_S)
    stream = tuple(_small(number) for number in range(1, 2 * sum(sizes)))
    pool = enacted(Pool(policy=policy, machines=machines, requests=stream))
    pool = replace(pool, requests=(*pool.requests, gang))
    for number in range(2 * sum(sizes)):
        reason = schedule(pool).waiting.get(TrialId("gang"))
        pool = enacted(pool)
        running = pool.running()
        if any(request.trial_id == "gang" for request in running):
            return
        beside = [r for r in running if not set(r.placement or ()) & set(reason.kept if reason else ())]
        gone = running[0] if number % 2 else (beside or running)[-1]
        left = [request for request in pool.requests if request.trial_id != gone.trial_id]
        free = [replace(m, free=m.free + (gone.placement or {}).get(m.agent_id, 0)) for m in pool.machines]
        pool = replace(pool, machines=tuple(free), requests=(*left, _small(1000 + number)))
    raise AssertionError("the gang starves")


def _small(number: int) -> Request:
    """A one-slot trial of a job that was submitted long before the gang's."""
    job = ExperimentId("stream" if number else "late")
    position = 1.0 if number else 2.0
    return Request(trial_id=TrialId(f"s{number}"), job_id=job, slots=1, position=position, number=number)
