"""Situations as files: what each policy does with them; many are retold from Determined's rules."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.scheduler import scenario
from services.scheduler.simulate import simulate
from shared.errors import Rejected

Waiting = dict[str, str]
SCHEDULE, START = {"op": "schedule"}, {"op": "start"}


def agents(*slots: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"a{index}", "slots": number, **more} for index, number in enumerate(slots)]


def play(*steps: dict[str, Any], trials: list[dict[str, Any]], **file: Any) -> list[dict[str, Any]]:
    """What the passes among the steps reported."""
    asked = scenario.read(json.dumps({"agents": [], "trials": trials, "steps": steps or [SCHEDULE], **file}))
    reported: Any = simulate(asked)["steps"]
    return [report for report in reported if report["op"] == "schedule"]


def trial(name: str, slots: int, *, priority: int | None = None, **more: Any) -> dict[str, Any]:
    """A trial; with a priority it belongs to a job `p<priority>`."""
    return {"id": name, "slots": slots, **more} | ({"job": f"p{priority}"} if priority else {})


def lanes(*priorities: int) -> list[dict[str, Any]]:
    return [{"id": f"p{priority}", "priority": priority} for priority in priorities]


@pytest.mark.parametrize(
    ("sizes", "slots", "used"),
    [
        ([8, 7, 7, 4, 4, 4, 4], 16, {"a3": 4, "a4": 4, "a5": 4, "a6": 4}),
        ([8, 7, 7], 16, None),
        ([8, 8], 12, None),
        ([8, 8], 16, {"a0": 8, "a1": 8}),
        ([8, 8, 4, 4], 8, {"a0": 8}),
        ([4, 8], 3, {"a0": 3}),
        ([2, 2, 2], 4, {"a0": 2, "a1": 2}),
        ([1, 1], 1, {"a0": 1}),
    ],
)
def test_where_a_gang_goes(sizes: list[int], slots: int, used: dict[str, int] | None) -> None:
    (report,) = play(agents=agents(*sizes), trials=[trial("t", slots)])
    assert report["allocate"] == ({} if used is None else {"t": used})


def test_best_fit_packs_and_worst_fit_spreads() -> None:
    trials = [trial("old", 2, running_on={"a0": 2}), trial("t", 1)]
    for fitting, agent in (("best", "a0"), ("worst", "a1")):
        (report,) = play(agents=agents(4, 4), trials=trials, policy={"fitting": fitting})
        assert report["allocate"] == {"t": {agent: 1}}


def test_worst_fit_takes_the_largest_free_part_not_the_most_slots() -> None:
    trials = [trial("old", 4, running_on={"a0": 4}), trial("t", 1)]
    (report,) = play(agents=agents(8, 3), trials=trials, policy={"fitting": "worst"})
    assert report["allocate"] == {"t": {"a1": 1}}


@pytest.mark.parametrize(
    ("slots", "used"),
    [(14, {"a0": 8, "a1": 6}), (12, {"a0": 8, "a2": 4}), (18, {"a0": 8, "a1": 6, "a2": 4}), (10, None)],
)
def test_unequal_agents_where_the_pool_allows_them(slots: int, used: dict[str, int] | None) -> None:
    for allowed in (True, False):
        (report,) = play(agents=agents(8, 6, 4), trials=[trial("t", slots)], policy={"heterogeneous_fits": allowed})
        assert report["allocate"] == ({"t": used} if allowed and used else {})


def test_slot_types_never_mix_in_a_gang() -> None:
    mixed = [{"id": "a", "slots": 4, "slot_type": "a100"}, {"id": "b", "slots": 4, "slot_type": "v100"}]
    asked = scenario.read(json.dumps({"agents": mixed, "trials": [trial("t", 8)], "steps": [SCHEDULE]}))
    assert list(simulate(asked)["refused"]) == ["t"]  # type: ignore[call-overload] # it is a dict


def test_agents_behind_one_switch_are_preferred() -> None:
    switches = ["x", "y", "x", "y"]
    near = [{"id": f"a{i}", "slots": 4, "labels": {"switch": switch}} for i, switch in enumerate(switches)]
    trials = [trial("old", 1, running_on={"a0": 1}), trial("t", 8)]
    (report,) = play(agents=near, trials=trials)
    assert report["allocate"] == {"t": {"a1": 4, "a3": 4}}


def test_agents_of_one_host_are_preferred_to_those_behind_one_switch() -> None:
    places = [("h1", "x"), ("h2", "x"), ("h3", "x"), ("h3", "y")]
    near = [{"id": f"a{i}", "slots": 4, "labels": {"host": h, "switch": s}} for i, (h, s) in enumerate(places)]
    (report,) = play(agents=near, trials=[trial("t", 8)])
    assert report["allocate"] == {"t": {"a2": 4, "a3": 4}}


def test_a_task_without_slots_fills_the_idle_agent_that_has_least_room_for_such() -> None:
    agents_ = [{"id": "a0", "slots": 4}, {"id": "a1", "slots": 8, "zero_slot_limit": 3}]
    (report,) = play(agents=agents_, trials=[trial("t", 0)])
    assert report["allocate"] == {"t": {"a1": 0}}


def test_tasks_without_slots_have_a_limit_on_each_agent() -> None:
    trials = [trial(f"t{index}", 0) for index in range(3)]
    (report,) = play(agents=agents(4, zero_slot_limit=2), trials=trials)
    assert report["allocate"] == {"t0": {"a0": 0}, "t1": {"a0": 0}}
    assert list(report["waiting"]) == ["t2"]


def test_tasks_without_slots_do_not_wait_behind_those_with() -> None:
    trials = [trial("big", 4), trial("old", 4, running_on={"a0": 4}), trial("zero", 0)]
    for policy in ("priority", "fair_share", "fifo"):
        (report,) = play(agents=agents(4), trials=trials, policy={"type": policy, "preemption": False})
        assert report["allocate"] == {"zero": {"a0": 0}}


@pytest.mark.parametrize("policy", ["priority", "fair_share", "fifo"])
def test_a_gang_that_can_never_fit_is_refused_and_blocks_nobody(policy: str) -> None:
    asked = {"agents": agents(4, 4), "policy": {"type": policy}, "steps": [SCHEDULE]}
    report = simulate(scenario.read(json.dumps(asked | {"trials": [trial("big", 12), trial("t", 1)]})))
    assert list(report["refused"]) == ["big"]  # type: ignore[call-overload] # it is a dict
    assert report["steps"][0]["allocate"] == {"t": {"a0": 1}}  # type: ignore[index] # a list of reports
    assert report["steps"][0]["waiting"] == {}  # type: ignore[index]


def test_more_important_trials_go_first_and_a_small_one_passes_a_larger_of_its_own_lane() -> None:
    trials = [
        trial("c", 2, priority=50),
        trial("a", 3, priority=40),
        trial("b", 4, priority=40),
        trial("d", 1, priority=40),
    ]
    (report,) = play(agents=agents(4), trials=trials, jobs=lanes(40, 50))
    assert report["allocate"] == {"a": {"a0": 3}, "d": {"a0": 1}}
    assert list(report["waiting"]) == ["b", "c"]


def test_without_preemption_nobody_less_important_starts_while_a_more_important_one_waits() -> None:
    trials = [trial("old", 2, running_on={"a0": 2}), trial("gang", 4, priority=40), trial("small", 1, priority=50)]
    (report,) = play(agents=agents(4), trials=trials, jobs=lanes(40, 50))
    assert report["allocate"] == {}
    assert "gang" in report["waiting"]["small"]


def test_with_preemption_only_preemptible_trials_backfill() -> None:
    trials = [
        trial("old", 2, preemptible=False, running_on={"a0": 2}),
        trial("gang", 4, priority=40),
        trial("firm", 1, priority=50, preemptible=False),
        trial("small", 1, priority=50),
    ]
    (report,) = play(agents=agents(4), trials=trials, jobs=lanes(40, 50), policy={"preemption": True})
    assert report["allocate"] == {"small": {"a0": 1}}
    assert report["release"] == []


def test_the_least_important_are_preempted_the_newest_first_and_start_nothing_in_that_pass() -> None:
    trials = [
        trial("v1", 1, priority=50, running_on={"a0": 1}),
        trial("v2", 1, priority=60, running_on={"a0": 1}),
        trial("v3", 1, priority=60, running_on={"a0": 1}),
        trial("keep", 1, priority=40, running_on={"a0": 1}),
        trial("t", 2, priority=42),
        trial("late", 1, priority=70),
    ]
    first, second = play(
        SCHEDULE, START, SCHEDULE,
        agents=agents(4), trials=trials, jobs=lanes(40, 42, 50, 60, 70), policy={"preemption": True},
    )  # fmt: skip
    assert (first["allocate"], sorted(first["release"])) == ({}, ["v2", "v3"])
    assert first["released_for"] == {"v2": "t", "v3": "t"}
    assert (second["allocate"], second["release"]) == ({"t": {"a0": 2}}, [])


def test_of_one_lane_the_newest_job_gives_way() -> None:
    trials = [
        trial("t1", 2, job="one", running_on={"a0": 2}),
        trial("t2", 2, job="two", running_on={"a0": 2}),
        trial("t", 2, job="high"),
    ]
    (report,) = play(agents=agents(4), trials=trials, jobs=[{"id": "high", "priority": 1}], policy={"preemption": True})
    assert report["release"] == ["t2"]


def test_a_victim_that_does_not_help_is_left_alone() -> None:
    trials = [
        trial("old", 4, priority=60, running_on={"a0": 4}),
        trial("new", 1, priority=60, running_on={"a1": 1}),
        trial("t", 4, priority=42),
    ]
    (report,) = play(agents=agents(4, 2), trials=trials, jobs=lanes(42, 60), policy={"preemption": True})
    assert report["release"] == ["old"]


def test_as_few_as_possible_are_preempted() -> None:
    trials = [
        trial("one", 2, priority=60, running_on={"a0": 2}),
        trial("x", 1, priority=60, running_on={"a1": 1}),
        trial("y", 1, priority=60, running_on={"a1": 1}),
        trial("t", 2, priority=42),
    ]
    (report,) = play(agents=agents(2, 2), trials=trials, jobs=lanes(42, 60), policy={"preemption": True})
    assert report["release"] == ["one"]


@pytest.mark.parametrize("why", ["not preemptible", "equally important", "would not help", "preemption is off"])
def test_nobody_is_preempted(why: str) -> None:
    priority = 42 if why == "equally important" else 60
    slots = 5 if why == "would not help" else 4
    running = trial("old", 4, priority=priority, running_on={"a0": 4}, preemptible=why != "not preemptible")
    (report,) = play(
        agents=agents(4, 5 if slots == 5 else 0, draining=False),
        trials=[running, *([trial("firm", 5, running_on={"a1": 5}, preemptible=False)] if slots == 5 else []),
                trial("t", slots, priority=42)],
        jobs=lanes(42, 60), policy={"preemption": why != "preemption is off"},
    )  # fmt: skip
    assert (report["allocate"], report["release"], list(report["waiting"])) == ({}, [], ["t"])


def test_a_job_ahead_in_its_own_lane_preempts_those_behind() -> None:
    trials = [trial("ahead", 4, job="one"), trial("behind", 4, job="two", running_on={"a0": 4})]
    (report,) = play(agents=agents(4), trials=trials, policy={"preemption": True})
    assert report["release"] == ["behind"]


def test_a_preempted_trial_waits_again_at_its_old_place() -> None:
    trials = [
        trial("first", 4, job="one", running_on={"a0": 4}),
        trial("next", 4, job="two"),
        trial("high", 4, job="h"),
    ]
    reports = play(
        SCHEDULE, START, SCHEDULE, START, {"op": "finish", "trials": ["high"]}, SCHEDULE,
        agents=agents(4), trials=trials, jobs=[{"id": "h", "priority": 1}], policy={"preemption": True},
    )  # fmt: skip
    assert [report["allocate"] for report in reports] == [{}, {"high": {"a0": 4}}, {"first": {"a0": 4}}]


def test_jobs_move_and_change_lanes() -> None:
    trials = [trial("t1", 4, job="one"), trial("t2", 4, job="two"), trial("t3", 4, job="three")]
    for step, winner in (
        ({"op": "move", "job": "three", "ahead_of": "one"}, "t3"),
        ({"op": "move", "job": "one", "behind": "two"}, "t2"),
        ({"op": "set", "job": "two", "priority": 1}, "t2"),
        ({"op": "set", "job": "one", "priority": 99}, "t2"),
        ({"op": "set", "job": "one", "max_slots": 2}, "t2"),
    ):
        (report,) = play(step, SCHEDULE, agents=agents(4), trials=trials)
        assert list(report["allocate"]) == [winner]


def test_moving_beside_a_job_takes_its_priority() -> None:
    trials = [trial("t1", 4, job="one"), trial("t2", 4, job="two")]
    (report,) = play(
        {"op": "move", "job": "two", "ahead_of": "one"}, SCHEDULE,
        agents=agents(4), trials=trials, jobs=[{"id": "one", "priority": 10}],
    )  # fmt: skip
    assert list(report["allocate"]) == ["t2"]


def test_jobs_go_in_order_of_their_submission_not_of_the_list() -> None:
    trials = [trial("t1", 4, job="late"), trial("t2", 4, job="early")]
    jobs = [{"id": "late", "submitted_at": 20.0}, {"id": "early", "submitted_at": 10.0}]
    (report,) = play(agents=agents(4), trials=trials, jobs=jobs)
    assert list(report["allocate"]) == ["t2"]


@pytest.mark.parametrize("policy", ["priority", "fair_share", "fifo"])
def test_a_job_never_holds_more_than_its_max_slots(policy: str) -> None:
    trials = [trial(f"t{index}", 1, job="j") for index in range(3)] + [trial("other", 1)]
    (report,) = play(agents=agents(4), trials=trials, jobs=[{"id": "j", "max_slots": 2}], policy={"type": policy})
    assert sorted(report["allocate"]) == ["other", "t0", "t1"]
    assert list(report["waiting"]) == ["t2"]


@pytest.mark.parametrize("step", ["drain", "disable"])
def test_a_closed_agent_takes_no_new_work(step: str) -> None:
    trials = [trial("old", 1, running_on={"a0": 1}), trial("t", 2)]
    closed, opened = play(
        {"op": step, "agent": "a0"},
        SCHEDULE,
        {"op": "enable", "agent": "a0"},
        SCHEDULE,
        agents=agents(4),
        trials=trials,
    )
    assert (closed["allocate"], "t" in closed["waiting"]) == ({}, True)
    assert "t" in opened["allocate"]


def test_agents_come_and_go_with_what_runs_there() -> None:
    trials = [trial("t", 1, running_on={"a0": 1})]
    lost, found = play(
        {"op": "lose", "agent": "a0"}, SCHEDULE, {"op": "add_agents", "agents": agents(1)}, SCHEDULE,
        agents=agents(1), trials=trials,
    )  # fmt: skip
    assert (lost["allocate"], found["allocate"]) == ({}, {"t": {"a0": 1}})


def test_first_in_first_out_nobody_passes_the_head() -> None:
    trials = [trial("old", 1, running_on={"a0": 1}), trial("gang", 4, priority=60), trial("small", 1, priority=1)]
    (report,) = play(agents=agents(4), trials=trials, jobs=lanes(1, 60), policy={"type": "fifo"})
    assert report["allocate"] == {}
    assert "gang" in report["waiting"]["small"]


def shared_among(*demands: tuple[int, float], capacity: int) -> dict[str, int]:
    """How many one-slot trials of each job start."""
    trials = [trial(f"{job}-{n}", 1, job=str(job)) for job, (demand, _) in enumerate(demands) for n in range(demand)]
    jobs = [{"id": str(job), "weight": weight} for job, (_, weight) in enumerate(demands)]
    (report,) = play(agents=agents(capacity), trials=trials, jobs=jobs, policy={"type": "fair_share"})
    started = [name.split("-")[0] for name in report["allocate"]]
    return {str(job): started.count(str(job)) for job in range(len(demands))}


@pytest.mark.parametrize(
    ("demands", "capacity", "shares"),
    [
        ([(4, 1), (4, 1)], 4, [2, 2]),
        ([(1, 1), (9, 1)], 8, [1, 7]),
        ([(8, 1), (8, 3)], 8, [2, 6]),
        ([(3, 1), (3, 1), (3, 1)], 7, [3, 2, 2]),
        ([(10, 1), (4, 100)], 10, [6, 4]),
        ([(2, 0), (2, 0)], 2, [1, 1]),
    ],
)
def test_progressive_filling(demands: list[tuple[int, float]], capacity: int, shares: list[int]) -> None:
    assert list(shared_among(*demands, capacity=capacity).values()) == shares


def test_fair_share_stops_the_newest_of_a_job_that_has_too_much_and_starts_the_other_later() -> None:
    trials = [trial(f"a{n}", 1, job="a", running_on={"a0": 1}) for n in range(4)] + [trial("b", 2, job="b")]
    first, second = play(SCHEDULE, START, SCHEDULE, agents=agents(4), trials=trials, policy={"type": "fair_share"})
    assert (first["allocate"], sorted(first["release"])) == ({}, ["a2", "a3"])
    assert (second["allocate"], second["release"]) == ({"b": {"a0": 2}}, [])


def test_fair_share_honours_trials_that_cannot_be_preempted() -> None:
    trials = [trial("firm", 4, running_on={"a0": 4}, preemptible=False), trial("t", 2)]
    (report,) = play(agents=agents(4), trials=trials, policy={"type": "fair_share"})
    assert (report["allocate"], report["release"]) == ({}, [])


def test_two_gangs_do_not_block_each_other_with_half_an_offer_each() -> None:
    (report,) = play(agents=agents(4), trials=[trial("g1", 4), trial("g2", 4)], policy={"type": "fair_share"})
    assert report["allocate"] == {"g1": {"a0": 4}}


def test_what_a_gang_cannot_use_goes_to_others() -> None:
    trials = [trial(f"s{n}", 1, job="small") for n in range(4)] + [trial("gang", 3)]
    (report,) = play(agents=agents(4), trials=trials, policy={"type": "fair_share"})
    assert sorted(report["allocate"]) == ["s0", "s1", "s2", "s3"]


def trace(policy: str, **more: Any) -> dict[str, Any]:
    """A gang of 4 and a stream of small trials that never leaves 4 slots free at once."""
    stream = [trial(f"s{n}", 1, job="stream", submit_s=float(n), duration_s=3.9) for n in range(200)]
    gang = trial("gang", 4, job="stream" if policy == "priority" else "gang", submit_s=2.5, duration_s=1.0)
    asked = {"agents": agents(4), "trials": [*stream, gang], "policy": {"type": policy, **more}}
    return dict(simulate(scenario.read(json.dumps(asked))))


@pytest.mark.parametrize("policy", ["priority", "fair_share"])
def test_a_reservation_ends_a_gangs_wait(policy: str) -> None:
    report = trace(policy, preemption=False, reserve_after_s=10.0)
    assert report["wait_s"]["max"] < 30
    assert trace(policy, preemption=False)["wait_s"]["max"] > 100


def test_a_trace_reports_what_came_of_it() -> None:
    trials = [
        trial("a", 2, submit_s=0.0, duration_s=10.0),
        trial("b", 2, submit_s=0.0, duration_s=10.0),
        trial("no", 9, submit_s=0.0, duration_s=1.0),
    ]
    report = simulate(scenario.read(json.dumps({"agents": agents(2), "trials": trials})))
    assert report["wait_s_by_job"] == {
        "a": {"median": 0.0, "p95": 0.0, "max": 0.0},
        "b": {"median": 10.0, "p95": 10.0, "max": 10.0},
    }
    assert (report["utilisation"], report["makespan_s"], report["preemptions"]) == (1.0, 20.0, 0)
    assert report["jain_fairness"] == pytest.approx(1.5**2 / (2 * 1.25))


def test_a_preempted_trial_goes_on_where_it_was() -> None:
    trials = [
        trial("low", 2, submit_s=0.0, duration_s=10.0),
        trial("high", 2, job="high", submit_s=4.0, duration_s=5.0),
    ]
    asked = {"agents": agents(2), "trials": trials, "jobs": [{"id": "high", "priority": 1}]}
    report = simulate(scenario.read(json.dumps(asked | {"policy": {"preemption": True}})))
    assert (report["preemptions"], report["makespan_s"], report["utilisation"]) == (1, 15.0, 1.0)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("agents: [{id: a, slots: many}]", "agents[0].slots"),
        ("agents: [{id: a, slots: -1}]", "agents[0].slots"),
        ("agents: [{id: a, slots: 1, gpus: 2}]", "agents[0]: Object contains unknown field `gpus`"),
        ("{agents: [], policy: {type: lottery}}", "policy.type"),
        ("{agents: [], jobs: [{id: j, priority: 100}]}", "jobs[0].priority"),
        ("{agents: [], steps: [{op: dance}]}", "steps[0].op"),
        ("{agents: [], steps: [{op: finish, trials: [x]}]}", "steps[0].trials[0]"),
        ("{agents: [], steps: [{op: drain, agent: x}]}", "steps[0].agent"),
        ("{agents: [], steps: [{op: move, job: x}]}", "steps[0]"),
        ("{agents: [], steps: [{op: set, job: x, priority: 1}]}", "steps[0].job"),
        ("{agents: [{id: a, slots: 1}, {id: a, slots: 1}]}", "agents[1].id"),
        (
            "{agents: [{id: a, slots: 1}], trials: [{id: t, slots: 2, running_on: {a: 2}}], steps: [{op: start}]}",
            "trials[0].running_on.a",
        ),
        ("{agents: [], trials: [{id: t, slots: 1}]}", "trials[0].duration_s"),
        ("trials: []", "agents"),
        ("[", "neither JSON nor YAML"),
        ('{"agents": [], "agents": []}', "'agents' is given twice"),
        ("agents: [{id: a, slots: 1, slots: 2}]", "line 1, column 10: 'slots' is given twice"),
        ("[" * 40, "nested more than 32 deep"),
        ("{agents: [], job: []}", "did you mean jobs?"),
        ("{agents: [], steps: [{op: set, job: j, prio: 1}]}", "did you mean priority?"),
        ("{agents: [], steps: [{op: drane, agent: a}]}", "one of schedule, start, "),
        ("{agents: [{id: 1, slots: 1}]}", "put it in quotes"),
        ("{agents: [], 2020-01-01: 3}", "Expected `str`"),
        ("{agents: [], trials: [{id: t, slots: 1}], steps: [{op: set, job: t}]}", "priority, weight or max_slots"),
        ("{agents: [], jobs: [{id: j, weight: .nan}]}", "jobs[0].weight"),
        (
            ("{agents: [{id: a, slots: 1, zero_slot_limit: 0}], trials: [{id: t, slots: 0, running_on: {a: 0}}], "
            "steps: [{op: start}]}"),
            "trials[0].running_on.a: it runs as many",
        ),
        (
            ("{agents: [{id: a, slots: 1, slot_type: x}, {id: b, slots: 1}], steps: [{op: start}], "
            "trials: [{id: t, slots: 2, running_on: {a: 1, b: 1}}]}"),
            "trials[0].running_on: a gang has slots of one slot_type",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_field(text: str, where: str) -> None:
    with pytest.raises(Rejected) as caught:
        simulate(scenario.read(text))
    assert where in str(caught.value)


def test_the_command_prints_json_or_text(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(
        "{agents: [{id: a, slots: 1}], trials: [{id: t, slots: 1}, {id: u, slots: 1}], steps: [{op: schedule}]}"
    )
    command = (sys.executable, "-P", "-m", "services.scheduler.simulate", str(file))
    report = json.loads(subprocess.run((*command, "--json"), capture_output=True, check=True).stdout)
    assert report["steps"][0]["allocate"] == {"t": {"a": 1}}
    assert "u: needs 1 slot" in subprocess.run(command, capture_output=True, check=True, text=True).stdout
    file.write_text("agents: 7")
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1 and "agents" in failed.stderr


def test_a_trace_is_compared_and_drawn(tmp_path: Path) -> None:
    trace = """
        agents: [{id: a, slots: 2}]
        jobs: [{id: batch, priority: 60}, {id: urgent, priority: 10}]
        trials:
          - {id: old, job: batch, slots: 2, duration_s: 100}
          - {id: new, job: urgent, slots: 2, submit_s: 10, duration_s: 20}
    """
    (tmp_path / "trace.yaml").write_text(trace)
    command = (sys.executable, "-m", "services.scheduler.simulate", str(tmp_path / "trace.yaml"), "--json")
    more = ("--compare=priority preemption", "--compare=fifo", f"--chart={tmp_path / 'chart.svg'}")
    told = json.loads(subprocess.run((*command, *more), stdout=subprocess.PIPE, check=True).stdout)
    assert {name: (report["wait_s"]["max"], report["preemptions"]) for name, report in told.items()} == {
        "the file's": (90, 0),
        "priority preemption": (0, 1),
        "fifo": (90, 0),
    }
    curves = re.findall("<polyline[^>]*stroke-width=.1.5", (tmp_path / "chart.svg").read_text())
    assert len(curves) == 6
    subprocess.run((*command, f"--chart={tmp_path / 'chart.png'}"), stdout=subprocess.PIPE, check=True)
    with Image.open(tmp_path / "chart.png") as image:
        assert image.size == (1920, 1120) and len(image.getcolors(1 << 24) or ()) > 50
    unknown = subprocess.run((*command, "--chart=chart.jpg"), capture_output=True, check=False)
    assert unknown.returncode == 1 and b"chart.jpg is no name.svg or name.png" in unknown.stderr
    wrong = subprocess.run((*command, "--compare=lottery"), capture_output=True, check=False)
    assert wrong.returncode == 1 and b"'lottery' is not known" in wrong.stderr


def test_only_a_trace_can_be_compared(tmp_path: Path) -> None:
    (tmp_path / "steps.yaml").write_text("{agents: [{id: a, slots: 1}], steps: [{op: schedule}]}")
    command = (sys.executable, "-m", "services.scheduler.simulate", str(tmp_path / "steps.yaml"), "--compare=fifo")
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 1 and b"only a trace" in done.stderr
