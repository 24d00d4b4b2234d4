"""What a gang's agents say when it ends, for where there are no agents: in virtual time."""

from shared.events import Event, GangMemberExited, GPUAllocated, Outcome, TrialExited, TrialPreempted


def ended(allocated: GPUAllocated) -> list[Event]:
    """It ended by itself."""
    return [*_others(allocated, Outcome.COMPLETED), _exited(allocated, Outcome.COMPLETED)]


def interrupted(allocated: GPUAllocated) -> list[Event]:
    """It ended because a machine failed."""
    return [*_others(allocated, Outcome.INTERRUPTED), _exited(allocated, Outcome.INTERRUPTED)]


def stopped(allocated: GPUAllocated) -> list[Event]:
    """It stopped as it was asked to."""
    return [
        *_others(allocated, Outcome.PREEMPTED),
        TrialPreempted(
            trial_id=allocated.trial_id,
            experiment_id=allocated.experiment_id,
            allocation_id=allocated.allocation_id,
            epoch=allocated.epoch,
            agent_id=allocated.members[0].agent_id,
            step=None,
        ),
    ]


def _exited(allocated: GPUAllocated, outcome: Outcome) -> TrialExited:
    return TrialExited(
        trial_id=allocated.trial_id,
        experiment_id=allocated.experiment_id,
        allocation_id=allocated.allocation_id,
        epoch=allocated.epoch,
        agent_id=allocated.members[0].agent_id,
        outcome=outcome,
        exit_code=None,
        error=None,
    )


def _others(allocated: GPUAllocated, outcome: Outcome) -> list[Event]:
    return [
        GangMemberExited(
            trial_id=allocated.trial_id,
            experiment_id=allocated.experiment_id,
            allocation_id=allocated.allocation_id,
            epoch=allocated.epoch,
            agent_id=member.agent_id,
            outcome=outcome,
            exit_code=None,
            error=None,
        )
        for member in allocated.members[1:]
    ]
