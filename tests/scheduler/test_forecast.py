"""What is foreseen is the policy's own passes, one after the other: held against passes over plain values."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scheduler.forecast import forecast
from services.scheduler.policies import schedule
from services.scheduler.pool import Pool, Request
from shared.ids import AgentId, TrialId
from tests.scheduler.test_policies import pools

MAX_PASSES = 60


def plainly_foreseen(  # noqa: C901 # the whole story in one place, to be compared with
    pool: Pool, left_s: dict[TrialId, float]
) -> dict[TrialId, float]:
    """The same without books that are kept: every pass is made from nothing but values."""
    clock_s, starts, ends = 0.0, dict[TrialId, float](), dict[TrialId, float]()
    requests = {request.trial_id: request for request in pool.requests}
    for request in pool.requests:
        if request.placement is not None and (request.is_stopping or request.trial_id in left_s):
            ends[request.trial_id] = 0.0 if request.is_stopping else left_s[request.trial_id]
    for _ in range(MAX_PASSES):
        plan = schedule(_view(pool, requests))
        for trial_id in plan.release:
            requests[trial_id] = replace(requests[trial_id], placement=None, waited_s=0.0)
            if trial_id in ends:
                left_s[trial_id] = max(0.0, ends.pop(trial_id) - clock_s)
        for trial_id, placement in plan.allocate.items():
            requests[trial_id] = replace(requests[trial_id], placement=placement)
            starts.setdefault(trial_id, clock_s)
            if trial_id in left_s:
                ends[trial_id] = clock_s + left_s[trial_id]
        if plan.release or plan.allocate:
            continue
        if not ends:
            break
        before_s, clock_s = clock_s, min(ends.values())
        for trial_id in [trial_id for trial_id, end_s in ends.items() if end_s <= clock_s]:
            del requests[trial_id], ends[trial_id]
        for request in [request for request in requests.values() if request.placement is None]:
            requests[request.trial_id] = replace(request, waited_s=request.waited_s + clock_s - before_s)
    return starts


def _view(pool: Pool, requests: dict[TrialId, Request]) -> Pool:
    held: Counter[AgentId] = Counter()
    zeros: Counter[AgentId] = Counter()
    for request in requests.values():
        held.update(request.placement or {})
        zeros.update(agent_id for agent_id, slots in (request.placement or {}).items() if not slots)
    machines = tuple(
        replace(machine, free=machine.slots - held[machine.agent_id], num_zero_slot=zeros[machine.agent_id])
        for machine in pool.machines
    )
    return replace(pool, machines=machines, requests=tuple(requests.values()))


@settings(max_examples=300, deadline=None)
@given(pools(), st.data())
def test_the_future_is_what_plain_passes_come_to(pool: Pool, data: st.DataObject) -> None:
    pool = replace(pool, policy=replace(pool.policy, reserve_after_s=None))  # overdue ones fall due between two ends
    names = sorted(request.trial_id for request in pool.requests)
    left_s = {name: float(data.draw(st.integers(1, 1000))) for name in names if data.draw(st.booleans())}
    assert forecast(pool, left_s) == plainly_foreseen(pool, dict(left_s))
