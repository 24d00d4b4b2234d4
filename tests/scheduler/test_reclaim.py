"""Whom to stop: those that reach least far up the lanes, the fewest of them, across agents, a gang counting once."""

from itertools import combinations

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scheduler.fitting import Fleet
from services.scheduler.policies import schedule
from services.scheduler.pool import Machine, Pool, Request
from shared.events import PolicyType, PoolPolicy, Slot, SlotKind
from shared.ids import AgentId, ExperimentId, TrialId
from tests.scheduler.test_policies import pools
from tests.scheduler.world import World, allocations, joined, requested, submitted

PREEMPTIVE = PoolPolicy(preemption=True)


def running(name: str, priority: int, position: float, **placement: int) -> Request:
    return Request(
        trial_id=TrialId(name),
        job_id=ExperimentId(name),
        slots=sum(placement.values()),
        position=position,
        number=0,
        priority=priority,
        placement={AgentId(agent): slots for agent, slots in placement.items()},
    )


def stopped(slots: int, *held: Request, num_agents: int) -> set[str]:
    """Who is stopped for a gang of these slots, with agents a0, a1 … of 4 slots, all of them held."""
    machines = tuple(Machine(agent_id=AgentId(f"a{index}"), slots=4, free=0) for index in range(num_agents))
    gang = Request(
        trial_id=TrialId("gang"), job_id=ExperimentId("gang"), slots=slots, position=0.0, number=0, priority=1
    )
    return set(schedule(Pool(policy=PREEMPTIVE, machines=machines, requests=(*held, gang))).release)


def test_a_gang_over_several_agents_stops_the_fewest() -> None:
    small = [running(f"s{number}", 60, 9.0 + number, a0=1) for number in range(4)]
    large = [running("l1", 60, 1.0, a1=4), running("l2", 60, 2.0, a2=4)]
    assert stopped(8, *small, *large, num_agents=3) == {"l1", "l2"}


def test_a_gang_that_runs_across_agents_counts_once() -> None:
    wide = running("wide", 60, 1.0, a0=4, a1=4)
    assert stopped(8, wide, running("x", 60, 2.0, a2=4), running("y", 60, 3.0, a3=4), num_agents=4) == {"wide"}


def test_the_least_important_are_stopped_even_if_they_are_more() -> None:
    small = [running(f"s{number}", 80, float(number), a1=1) for number in range(4)]
    assert stopped(4, running("one", 50, 9.0, a0=4), *small, num_agents=2) == {"s0", "s1", "s2", "s3"}


def test_of_equally_many_the_newest_are_stopped() -> None:
    held = [running(f"t{number}", 60, float(number), **{f"a{number}": 4}) for number in range(4)]
    assert stopped(8, *held, num_agents=4) == {"t2", "t3"}


@settings(max_examples=200, deadline=None)
@given(pools(PolicyType.PRIORITY), st.data())
def test_no_smaller_and_no_less_important_set_would_do(pool: Pool, data: st.DataObject) -> None:
    waiting = [request for request in pool.waiting() if request.slots]
    assume(waiting)
    request = data.draw(st.sampled_from(waiting))
    held = [replace(other, is_stopping=False) for other in pool.running()]
    policy = replace(pool.policy, preemption=True, heterogeneous_fits=False, reserve_after_s=None)
    plan = schedule(replace(pool, policy=policy, requests=(*held, request)))
    if request.trial_id in plan.allocate or (request.max_slots or 99) < 99:
        return
    above = (request.priority, request.position)
    may = [other for other in held if other.preemptible and (other.priority, other.position) > above]

    def fits(victims: tuple[Request, ...]) -> bool:
        fleet = Fleet(pool.machines, policy)
        for victim in victims:
            fleet.give(victim.placement or {})
        return fleet.fit(request.slots) is not None

    if not plan.release:
        assert not fits(tuple(may))
        return
    victims = tuple(other for other in held if other.trial_id in plan.release)
    reach = min(victim.priority for victim in victims)
    assert fits(victims)
    assert not fits(tuple(other for other in may if other.priority > reach))
    within = [other for other in may if other.priority >= reach and other.slots]
    assert not any(fits(fewer) for number in range(len(victims)) for fewer in combinations(within, number))


def test_an_agent_with_slots_of_two_kinds_counts_as_two() -> None:
    mixed = replace(
        joined("a", 4),
        slots=tuple(Slot(number=n, kind=SlotKind.CUDA if n > 1 else SlotKind.CPU, name="x") for n in range(4)),
    )
    world = World(submitted(), mixed, requested(1, slots=4), requested(2, slots=2), requested(3, slots=2))
    given_ = allocations(world.settle())
    assert {trial: members["a"] for trial, members in given_.items()} == {"exp-2": (0, 1), "exp-3": (2, 3)}


def test_agents_on_one_host_are_nearer_than_agents_behind_one_switch() -> None:
    machines = tuple(
        Machine(agent_id=AgentId(f"a{index}"), slots=2, free=2, host=host, switch=switch)
        for index, (host, switch) in enumerate([("h1", "x"), ("h2", "x"), ("h3", "y"), ("h3", "y")])
    )
    assert Fleet(machines, PREEMPTIVE).fit(4) == {"a2": 2, "a3": 2}
    apart = tuple(replace(machine, host="") for machine in machines[:3])
    assert Fleet(apart, PREEMPTIVE).fit(4) == {"a0": 2, "a1": 2}
