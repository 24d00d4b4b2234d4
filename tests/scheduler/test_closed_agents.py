"""What waits for an agent that takes no new work now: it keeps its place, and whom that holds up."""

import json
from typing import Any

import pytest

from services.scheduler import scenario
from services.scheduler.simulate import simulate
from tests.scheduler.test_simulate import SCHEDULE, START, agents, lanes, play, trial

GANG = trial("gang", 8, priority=40)
SMALL = trial("small", 1, priority=50)
DRAINED = [*agents(4), {"id": "b", "slots": 4, "draining": True}]


@pytest.mark.parametrize("policy", [{}, {"type": "fifo"}])
def test_nobody_takes_the_room_of_a_gang_that_waits_for_a_drained_agent(policy: dict[str, Any]) -> None:
    closed, opened = play(
        SCHEDULE, {"op": "enable", "agent": "b"}, SCHEDULE,
        agents=DRAINED, trials=[GANG, SMALL], jobs=lanes(40, 50), policy=policy,
    )  # fmt: skip
    assert closed["allocate"] == {}
    assert "only agents that take no new work" in closed["waiting"]["gang"]
    assert "gang" in closed["waiting"]["small"]
    assert opened["allocate"] == {"gang": {"a0": 4, "b": 4}}


def test_with_preemption_others_fill_the_room_and_give_it_back() -> None:
    reports = play(
        SCHEDULE, START, {"op": "enable", "agent": "b"}, SCHEDULE, START, SCHEDULE,
        agents=DRAINED, trials=[GANG, SMALL], jobs=lanes(40, 50), policy={"preemption": True},
    )  # fmt: skip
    assert [(report["allocate"], report["release"]) for report in reports] == [
        ({"small": {"a0": 1}}, []),
        ({}, ["small"]),
        ({"gang": {"a0": 4, "b": 4}}, []),
    ]


def test_smaller_ones_of_the_same_lane_pass() -> None:
    (report,) = play(agents=DRAINED, trials=[GANG, trial("equal", 1, priority=40)], jobs=lanes(40))
    assert report["allocate"] == {"equal": {"a0": 1}}


def test_fair_share_counts_it_as_no_demand() -> None:
    trials = [GANG, *(trial(f"s{n}", 1, job="s") for n in range(4))]
    (report,) = play(agents=DRAINED, trials=trials, policy={"type": "fair_share"})
    assert sorted(report["allocate"]) == ["s0", "s1", "s2", "s3"]


def test_a_gang_that_waits_for_a_drained_agent_gets_no_reservation() -> None:
    overdue = trial("gang", 8, job="gang", submit_s=0.0, duration_s=1.0)
    small = [trial(f"s{n}", 4, job="s", submit_s=float(n), duration_s=5.0) for n in range(4)]
    asked = {"agents": DRAINED, "trials": [overdue, *small], "policy": {"reserve_after_s": 2.0}}
    report = simulate(scenario.read(json.dumps(asked)))
    assert (report["finished"], report["never_started"]) == (4, ["gang"])


@pytest.mark.parametrize("policy", ["priority", "fifo", "fair_share"])
def test_what_the_pool_has_lost_the_agents_for_is_in_nobodys_way(policy: str) -> None:
    (report,) = play(
        {"op": "lose", "agent": "b"}, SCHEDULE,
        agents=[*agents(4), {"id": "b", "slots": 4}], trials=[GANG, SMALL], jobs=lanes(40, 50), policy={"type": policy},
    )  # fmt: skip
    assert report["allocate"] == {"small": {"a0": 1}}
    assert "no set of the pool's agents can hold it" in report["waiting"]["gang"]


def test_what_was_allocated_starts_only_where_it_still_can() -> None:
    trials = [trial("t", 1), trial("u", 1), trial("v", 1)]
    steps = [SCHEDULE, {"op": "lose", "agent": "a0"}, {"op": "disable", "agent": "a1"}, {"op": "drain", "agent": "a2"}]
    asked = {"agents": agents(1, 1, 1), "trials": trials, "steps": [*steps, START]}
    reported: Any = simulate(scenario.read(json.dumps(asked)))["steps"]
    assert reported[0]["allocate"] == {"t": {"a0": 1}, "u": {"a1": 1}, "v": {"a2": 1}}
    assert reported[-1]["started"] == ["v"]
