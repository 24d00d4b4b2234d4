"""What the scheduler's decisions went by, as their events tell it: whose claim a preemption serves, why a gang fits."""

from services.scheduler.memory import State
from services.scheduler.pool import Placement, Plan
from services.scheduler.records import Allocation, Job
from shared.events import Claim, Fit, PoolPolicy
from shared.ids import ExperimentId, TrialId

MAX_SHORT = 3  # of the jobs that are short of their share, as many are told


def claim(state: State, plan: Plan, victim: Allocation, by: TrialId | None) -> Claim:
    """Return why a trial must give way to the trial `by`, or to other jobs' shares."""
    if by is None:
        short = [share for share in plan.shares.values() if share.held < share.offered]
        short.sort(key=lambda share: (share.held - share.offered, share.experiment_id))
        return Claim(share=plan.shares.get(victim.experiment_id), short=tuple(short[:MAX_SHORT]))
    needy = state.trials[by]
    return Claim(
        priority=_job(state, victim.experiment_id).priority,
        for_experiment_id=needy.experiment_id,
        for_priority=_job(state, needy.experiment_id).priority,
        for_slots=needy.slots,
        num_victims=sum(other == by for other in plan.release.values()),
    )


def fit(plan: Plan, policy: PoolPolicy, trial_id: TrialId, placement: Placement) -> Fit:
    """Return why a gang was placed just there."""
    roomy = plan.roomy[trial_id]
    return Fit(
        policy=policy.type,
        fitting=policy.fitting,
        rule=_rule(placement),
        num_roomy=roomy.num_agents,
        others={agent_id: free for agent_id, free in roomy.free.items() if agent_id not in placement},
    )


def _rule(placement: Placement) -> str:
    sizes = set(placement.values())
    if sizes == {0}:
        return "no slots"
    if len(placement) == 1:
        return "one agent"
    return "equal idle agents" if len(sizes) == 1 else "unequal idle agents"


def _job(state: State, experiment_id: ExperimentId) -> Job:
    experiment = state.experiments.get(experiment_id)
    return experiment.job if experiment else Job(position=0.0)
