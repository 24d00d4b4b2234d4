"""Determined's own situations, retold: what its users know a pool to do, `tm simulate` says as well.

Where the rules differ on purpose (policies/*.py say why), the expectation is ours, and the case says so.
"""

from typing import Any

import pytest
from hypothesis import given, settings

from services.scheduler.fitting import Fleet
from services.scheduler.policies import schedule
from services.scheduler.pool import Placement, Pool
from shared.events import PolicyType
from shared.ids import TrialId
from tests.scheduler.test_policies import pools
from tests.scheduler.test_simulate import SCHEDULE, START, agents, lanes, play, trial

PREEMPTION = {"preemption": True}
FAIR = {"type": "fair_share"}


def started(report: dict[str, Any]) -> list[str]:
    return sorted(report["allocate"])


def running(name: str, slots: int, agent: str, **more: Any) -> dict[str, Any]:
    return trial(name, slots, running_on={agent: slots}, **more)


TWO_LANES = [
    trial("t1", 4, priority=50),
    trial("t2", 1, priority=50),
    trial("t3", 1, priority=40),
    trial("t4", 0, priority=40),
    trial("t5", 4, priority=40),
    trial("t6", 0, priority=50),
]


def test_without_preemption_whoever_fits_starts_as_long_as_nobody_more_important_waits() -> None:
    more = [trial(f"t{number}", 1, job="p50") for number in (7, 8, 9)]
    first, second = play(
        SCHEDULE, START, {"op": "add_trials", "trials": more}, SCHEDULE,
        agents=agents(4, 4), trials=TWO_LANES, jobs=lanes(40, 50),
    )  # fmt: skip
    assert started(first) == ["t2", "t3", "t4", "t5", "t6"]
    assert started(second) == ["t7", "t8"]


def test_without_preemption_a_waiting_lane_holds_up_those_below_until_it_is_served() -> None:
    trials = [trial("low", 1, priority=50), *(trial(f"h{n}", 1, priority=40) for n in range(3)),
              trial("two", 2, priority=40)]  # fmt: skip
    reports = play(
        SCHEDULE, START, SCHEDULE, {"op": "finish", "trials": ["h0", "h1", "h2"]}, SCHEDULE,
        agents=agents(4), trials=trials, jobs=lanes(40, 50),
    )  # fmt: skip
    assert [started(report) for report in reports] == [["h0", "h1", "h2"], [], ["low", "two"]]


def test_room_is_made_for_one_and_an_oversized_one_asks_nobody_to_stop() -> None:
    trials = [
        trial("low", 1, priority=50),
        running("medium", 4, "a0", priority=45),
        running("high", 4, "a1", priority=40),
        trial("next", 4, priority=40),
        trial("oversized", 8, priority=40),
    ]
    (report,) = play(agents=agents(4, 4), trials=trials, jobs=lanes(40, 45, 50), policy=PREEMPTION)
    assert (started(report), report["release"]) == ([], ["medium"])


def test_lanes_above_a_preemption_backfill_and_those_at_it_wait() -> None:
    trials = [
        running("lowest", 1, "a0", priority=55),
        trial("lower", 1, priority=50),
        trial("medium", 1, priority=45),
        running("high", 4, "a1", priority=40),
        trial("first", 2, priority=40),
        trial("oversized", 8, priority=40),
    ]
    (report,) = play(agents=agents(4, 4), trials=trials, jobs=lanes(40, 45, 50, 55), policy=PREEMPTION)
    assert (started(report), report["release"]) == (["first", "medium"], ["lowest"])


def test_tasks_without_slots_are_preempted_by_their_own_kind() -> None:
    trials = [
        trial("low", 0, priority=50),
        running("medium", 0, "a0", priority=45),
        running("high", 0, "a1", priority=40),
        trial("next", 0, priority=40),
    ]
    for limit, expected in ((1, ([], ["medium"])), (4, (["low", "next"], []))):
        (report,) = play(
            agents=[{"id": "a0", "slots": 0, "zero_slot_limit": limit}, {"id": "a1", "slots": 0, "zero_slot_limit": 1}],
            trials=trials, jobs=lanes(40, 45, 50), policy=PREEMPTION,
        )  # fmt: skip
        assert (started(report), report["release"]) == expected


def test_an_agent_that_runs_no_tasks_without_slots_gets_none() -> None:
    trials = [trial("four", 4, priority=40), trial("none", 0, priority=50)]
    (report,) = play(agents=agents(4, zero_slot_limit=0), trials=trials, jobs=lanes(40, 50), policy=PREEMPTION)
    assert started(report) == ["four"]


@pytest.mark.parametrize(("slots", "released"), [(4, ["two"]), (8, [])])
def test_a_job_moved_between_two_others_preempts_only_the_one_behind_it(slots: int, released: list[str]) -> None:
    trials = [running("one", 1, "a0", job="j1"), running("two", 4, "a1", job="j2"), trial("three", slots, job="j3")]
    (report,) = play(
        {"op": "move", "job": "j3", "behind": "j1"}, SCHEDULE,
        agents=agents(4, 4), trials=trials, policy=PREEMPTION,
    )  # fmt: skip
    assert (started(report), report["release"]) == ([], released)


def one_slot(job: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    return [trial(f"{job}{number}", 1, job=job) for number in range(first, first + count)]


def test_fair_share_holds_a_job_to_its_max_slots_and_a_job_without_weight_counts_as_one() -> None:
    trials = [*one_slot("a", 4), *one_slot("b", 4)]
    jobs = [{"id": "a", "max_slots": 1, "weight": 1}]
    (report,) = play(agents=agents(4), trials=trials, jobs=jobs, policy=FAIR)
    assert started(report) == ["a0", "b0", "b1", "b2"]


def test_fair_share_goes_by_weights() -> None:
    trials = [*one_slot("a", 3), *one_slot("b", 7)]
    jobs = [{"id": "a", "max_slots": 100, "weight": 10}, {"id": "b", "max_slots": 100, "weight": 30}]
    (report,) = play(agents=agents(8), trials=trials, jobs=jobs, policy=FAIR)
    assert started(report) == ["a0", "a1", "b0", "b1", "b2", "b3", "b4", "b5"]


def test_fair_share_starts_a_gang_each_where_there_is_room_for_both_and_else_one() -> None:
    trials = [trial("g1", 4, job="a"), trial("g2", 4, job="b")]
    for sizes, expected in (((4, 4), ["g1", "g2"]), ((4,), ["g1"])):
        (report,) = play(agents=agents(*sizes), trials=trials, policy=FAIR)
        assert (started(report), report["release"]) == (expected, [])


def test_fair_share_stops_what_is_beyond_max_slots_the_newest_first() -> None:
    """Determined stops as many, but the oldest."""
    trials = [running(f"t{number}", 1, "a0", job="a") for number in range(4)]
    (report,) = play(agents=agents(4), trials=trials, jobs=[{"id": "a", "max_slots": 2}], policy=FAIR)
    assert sorted(report["release"]) == ["t2", "t3"]


def test_fair_share_leaves_a_job_alone_that_holds_its_max_slots() -> None:
    trials = [trial("gang", 2, job="a"), running("x", 1, "a0", job="a"), running("y", 1, "a1", job="a")]
    (report,) = play(agents=agents(2, 2), trials=trials, jobs=[{"id": "a", "max_slots": 2}], policy=FAIR)
    assert (started(report), report["release"]) == ([], [])


def test_fair_share_fits_around_what_runs_and_the_latest_gang_that_is_too_large_goes_without() -> None:
    trials = [
        trial("t1", 3, job="g1"),
        trial("t2", 1, job="g2"),
        running("t3", 1, "a1", job="g2"),
        trial("t4", 4, job="g3"),
        trial("t5", 1, job="g4"),
    ]
    (report,) = play(agents=agents(4, 3), trials=trials, policy=FAIR)
    assert (started(report), report["release"]) == (["t1", "t2", "t5"], [])


def test_fair_share_stops_the_preemptible_one_of_two_that_are_too_many() -> None:
    for firm in ("t1", "t2"):
        trials = [running(name, 1, "a0", job="a", preemptible=name != firm) for name in ("t1", "t2")]
        (report,) = play(agents=agents(2), trials=trials, jobs=[{"id": "a", "max_slots": 1}], policy=FAIR)
        assert report["release"] == [{"t1": "t2", "t2": "t1"}[firm]]


@pytest.mark.parametrize(
    ("slots", "capacities", "allowed", "num_agents"),
    [
        (10, [1, 5, 10], False, 1),
        (16, [8, 7, 7, 4, 4, 4, 4], False, 4),
        (16, [3, 3, 3, 3, 3], False, 0),
        (12, [8, 8, 3, 3, 3], False, 0),
        (8, [4, 4, 4, 4, 4], False, 2),
        (4, [2, 1, 1], True, 3),
        (4, [2, 1, 1], False, 0),
        (4, [2, 1, 1, 1, 1], True, 4),
        (4, [2, 1, 1, 1], True, 3),
        (8, [2, 1, 1], True, 0),
        (63, [32, 32, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1], True, 6),
    ],
)
def test_on_how_many_agents_a_gang_runs(slots: int, capacities: list[int], allowed: bool, num_agents: int) -> None:  # noqa: FBT001 # a table
    policy = {"heterogeneous_fits": allowed, "fitting": "worst"}
    (report,) = play(agents=agents(*capacities), trials=[trial("t", slots)], policy=policy)
    assert len(report["allocate"].get("t", {})) == num_agents


@pytest.mark.parametrize(
    ("slots", "sizes", "used", "fitting", "agent"),
    [
        (2, [2, 4], [0, 2], "best", "a0"),
        (1, [4, 1], [0, 0], "best", "a1"),
        (2, [1, 3], [0, 0], "best", "a1"),
        (1, [2, 4], [1, 1], "worst", "a1"),
        (1, [4, 2], [1, 1], "worst", "a0"),
        (1, [2, 5], [1, 3], "worst", "a0"),
        (2, [2, 5], [0, 3], "worst", "a0"),
        (4, [8, 4], [0, 0], "worst", "a0"),
    ],
)
def test_which_agent_is_chosen(slots: int, sizes: list[int], used: list[int], fitting: str, agent: str) -> None:
    held = [running(f"r{n}", number, f"a{n}") for n, number in enumerate(used) if number]
    trials = [*held, trial("t", slots)]
    (report,) = play(agents=agents(*sizes), trials=trials, policy={"fitting": fitting})
    assert report["allocate"] == {"t": {agent: slots}}


@pytest.mark.parametrize(
    ("limits", "held", "agent"), [((2, 4), (0, 2), "a0"), ((100, 100), (1, 0), "a0"), ((2, 2), (1, 0), "a0")]
)
def test_where_a_task_without_slots_goes(limits: tuple[int, int], held: tuple[int, int], agent: str) -> None:
    machines = [{"id": f"a{n}", "slots": 4, "zero_slot_limit": limit} for n, limit in enumerate(limits)]
    trials = [running(f"r{n}-{k}", 0, f"a{n}") for n, number in enumerate(held) for k in range(number)]
    (report,) = play(agents=machines, trials=[*trials, trial("t", 0)])
    assert report["allocate"] == {"t": {agent: 0}}


@settings(max_examples=300)
@given(pools(PolicyType.PRIORITY))
def test_without_preemption_the_plan_is_that_of_the_rule_word_by_word(pool: Pool) -> None:
    policy = pool.policy
    if policy.preemption or policy.reserve_after_s is not None or any(r.max_slots for r in pool.requests):
        return
    assert schedule(pool).allocate == _word_by_word(pool)


def _word_by_word(pool: Pool) -> dict[TrialId, Placement]:
    """Determined's priority scheduler without preemption (its rules 1 to 4), with nobody who could never run."""
    start = dict[TrialId, Placement]()
    for with_slots in (True, False):  # independently: each on a copy of its own
        fleet = Fleet(pool.machines, pool.policy)
        kind = [request for request in pool.waiting() if bool(request.slots) == with_slots]
        is_blocked = False
        for lane in sorted({request.priority for request in kind}):
            is_anybody_waiting = False
            for request in (request for request in kind if request.priority == lane):
                placement = fleet.fit(request.slots)
                if placement is not None:
                    fleet.take(placement)
                    start |= {} if is_blocked else {request.trial_id: placement}
                elif fleet.could_hold(request.slots):
                    is_anybody_waiting = True
            is_blocked |= is_anybody_waiting
    return start
