"""What an experiment may ask for: pure rules, held to what the scheduler's fitting really does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.admission import Limit, Pool, Submitted, admit, check_change
from services.scheduler.fitting import Fleet
from services.scheduler.pool import Machine
from shared.capacity import AgentSize, can_hold, nearest_below
from shared.errors import Rejected
from shared.events import JobEvent, JobMoved, JobPoolSet, JobPrioritySet, PoolPolicy
from shared.ids import AgentId, ExperimentId, PoolId

ID, OTHER = ExperimentId("one"), ExperimentId("other")
EIGHTS = Pool(name="default", agents=(AgentSize(8, "cuda", 100), AgentSize(8, "cuda", 100)))
SIZES = st.lists(
    st.builds(AgentSize, st.integers(0, 8), st.sampled_from(["cpu", "cuda"]), st.sampled_from([0, 2])), max_size=6
)


def config(slots: int = 1, priority: int | None = None, workspace: str = "", pool: str = "default") -> dict[str, Any]:
    resources = {"slots_per_trial": slots, "resource_pool": pool, "priority": priority}
    return {"workspace": workspace, "resources": resources}


def refusal(asked: dict[str, Any], pool: Pool = EIGHTS, *limits: Limit) -> tuple[str, str, str | None]:
    with pytest.raises(Rejected) as caught:
        admit(asked, {pool.name: pool}, limits)
    (problem,) = caught.value.problems
    return problem.path, problem.message, problem.suggestion


def submitted(experiment_id: str = ID, priority: int = 42, pool: str = "default") -> Submitted:
    return Submitted(experiment_id=experiment_id, workspace="", pool=pool, slots_per_trial=8, priority=priority)


@given(st.integers(0, 40), SIZES, st.booleans())
def test_the_rule_is_what_the_schedulers_fitting_comes_to(
    slots: int,
    agents: list[AgentSize],
    heterogeneous: bool,  # noqa: FBT001 # drawn by Hypothesis
) -> None:
    machines = [
        Machine(
            agent_id=AgentId(f"a{number}"),
            slots=agent.slots,
            free=agent.slots,
            kind=agent.kind,
            zero_slot_limit=agent.zero_slot_limit,
        )
        for number, agent in enumerate(agents)
    ]
    fleet = Fleet(machines, PoolPolicy(heterogeneous_fits=heterogeneous))
    assert can_hold(slots, agents, heterogeneous_fits=heterogeneous) == fleet.can_ever_fit(slots)


@given(st.integers(1, 40), SIZES, st.booleans())
def test_the_size_that_is_proposed_instead_fits(
    slots: int,
    agents: list[AgentSize],
    heterogeneous: bool,  # noqa: FBT001 # drawn by Hypothesis
) -> None:
    below = nearest_below(slots, agents, heterogeneous_fits=heterogeneous)
    if below is not None:
        assert below < slots and can_hold(below, agents, heterogeneous_fits=heterogeneous)


def test_a_pool_without_agents_may_get_some() -> None:
    admit(config(slots=8), {}, [])
    admit(config(slots=8), {"default": Pool(name="default", agents=())}, [])


def test_more_than_the_pool_has_is_refused_with_both_numbers() -> None:
    assert refusal(config(slots=17)) == (
        "resources.slots_per_trial",
        "each trial asks for 17 slots; pool default has 16",
        "use at most 16, or add agents first",
    )


def test_what_no_set_of_agents_can_hold_is_refused_with_what_could_be() -> None:
    path, message, mend = refusal(config(slots=12))
    assert path == "resources.slots_per_trial" and "agents of 8, 8" in message and mend is not None
    assert mend.startswith("use at most 8")


def test_an_unknown_pool_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Rejected, match="known pools: default, h200"):
        admit(config(pool="a100"), {"h200": Pool(name="h200", agents=())}, [])


def test_a_priority_that_is_not_said_is_the_pools_default_but_never_beyond_the_limit() -> None:
    pool = Pool(name="default", agents=EIGHTS.agents, policy=PoolPolicy(default_priority=50))
    limit = Limit(workspace=None, max_slots=None, best_priority=60)
    assert admit(config(), {"default": pool}, [])["resources"]["priority"] == 50
    assert admit(config(), {"default": pool}, [limit])["resources"]["priority"] == 60
    assert admit(config(priority=3), {"default": pool}, [])["resources"]["priority"] == 3


def test_the_limits_of_a_workspace_and_of_all_hold_at_submission() -> None:
    for_all = Limit(workspace=None, max_slots=6, best_priority=10)
    for_one = Limit(workspace="vision", max_slots=4, best_priority=30)
    assert refusal(config(slots=8, workspace="nlp"), EIGHTS, for_all, for_one)[1] == (
        "8 slots are more than the 6 that any workspace may hold"
    )
    assert refusal(config(slots=5, workspace="vision"), EIGHTS, for_all, for_one)[1] == (
        "5 slots are more than the 4 that workspace vision may hold"
    )
    path, message, mend = refusal(config(priority=20, workspace="vision"), EIGHTS, for_all, for_one)
    assert (path, mend) == ("resources.priority", "use 30 or more, or ask an administrator")
    assert "priority 20 is more important than 30" in message
    admit(config(slots=4, priority=30, workspace="vision"), {"default": EIGHTS}, [for_all, for_one])


@pytest.mark.parametrize(
    ("change", "beside", "message"),
    [
        (JobPrioritySet(experiment_id=ID, priority=9), None, "priority: priority 9 is more important than 10"),
        (JobMoved(experiment_id=ID, beside_id=OTHER, ahead=True), submitted(OTHER, 5), "ahead_of: priority 5"),
        (JobMoved(experiment_id=ID, beside_id=OTHER, ahead=False), submitted(OTHER, pool="b"), "different queues"),
        (JobPoolSet(experiment_id=ID, pool_id=PoolId("default")), None, "in pool default already"),
        (JobPoolSet(experiment_id=ID, pool_id=PoolId("small")), None, "pool small has 4"),
        (JobPoolSet(experiment_id=ID, pool_id=PoolId("none")), None, "known pools: default, small"),
    ],
)
def test_changes_that_ask_for_too_much_are_refused(change: JobEvent, beside: Submitted | None, message: str) -> None:
    pools = {"default": EIGHTS, "small": Pool(name="small", agents=(AgentSize(4, "cuda", 100),))}
    with pytest.raises(Rejected, match=message):
        check_change(change, submitted(), beside, pools, [Limit(workspace=None, max_slots=None, best_priority=10)])


def test_changes_within_the_limits_are_granted() -> None:
    pools = {"default": EIGHTS, "more": Pool(name="more", agents=EIGHTS.agents)}
    limits = [Limit(workspace=None, max_slots=8, best_priority=10)]
    check_change(JobPrioritySet(experiment_id=ID, priority=10), submitted(), None, pools, limits)
    check_change(JobPoolSet(experiment_id=ID, pool_id=PoolId("more")), submitted(), None, pools, limits)
    moved = JobMoved(experiment_id=ID, beside_id=OTHER, ahead=True)
    check_change(moved, submitted(), submitted(OTHER, 10), pools, limits)
