"""What an agent remembers of the log: only what its own allocations need. A fold and nothing else.

Of the whole cluster: open experiments (what to run), open trials (with which hyperparameters, from which checkpoint).
Of the allocations: those that name this very incarnation, from GPUAllocated to GPUReleased. An agent starts with a new
incarnation, so nothing that ran before it is ever its business again; when it is declared lost, all its allocations
are void at once.

    JOINING ──AgentJoined (ours)──► JOINED ──AgentLost (ours)──► LOST ──rejoin, a new incarnation──► JOINING
       │                              └──AgentJoined (that succeeds ours)──► REPLACED: this process must end
       └──AgentJoined (ours) while another incarnation is in──► RIVAL ──it has gone──► JOINING
    Any of them ──AgentRefused (ours)──► REFUSED: this process must end
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import singledispatch

from services.worker.allocation import (
    Allocation,
    Checkpoint,
    Experiment,
    MemberExit,
    Preemption,
    Rendezvous,
    Shard,
    Trial,
)
from services.worker.health import Fault
from shared.events import (
    AgentEnabled,
    AgentJoined,
    AgentLeft,
    AgentLost,
    AgentRefused,
    CheckpointDeleted,
    CheckpointDeletionRequested,
    CheckpointRefused,
    CheckpointSaved,
    CheckpointShardUploaded,
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentSubmitted,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    PreemptionRequested,
    RendezvousOpened,
    SlotRecovered,
    SlotUnhealthy,
    TrialClosed,
    TrialExtended,
    TrialRequested,
)
from shared.ids import AgentId, AllocationId, ExperimentId, TrialId
from shared.log import Recorded

#: The newest checkpoints that are kept in mind: when one turns out to be broken, the one before it is used.
NUM_CHECKPOINTS = 3


class Standing(StrEnum):
    """How the log sees this agent's present incarnation."""

    JOINING = "joining"
    JOINED = "joined"
    LOST = "lost"
    REPLACED = "replaced"
    RIVAL = "rival"
    REFUSED = "refused"


@dataclass(slots=True, kw_only=True)
class State:
    """Everything this agent decides from."""

    agent_id: AgentId
    incarnation: str
    standing: Standing = Standing.JOINING
    present: str | None = None  # the incarnation that is in under this agent's name
    refusal: str = ""
    experiments: dict[ExperimentId, Experiment] = field(default_factory=dict)
    trials: dict[TrialId, Trial] = field(default_factory=dict)
    allocations: dict[AllocationId, Allocation] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)  # of its slots, as the log has them
    excused: dict[int, Fault] = field(default_factory=dict)  # in spite of which an administrator enabled the slot

    def rejoin(self, incarnation: str) -> None:
        """Begin a new life after having been declared lost."""
        self.incarnation, self.standing = incarnation, Standing.JOINING


def evolve(state: State, recorded: Recorded) -> None:
    """Fold one event into the state."""
    assert recorded.event is not None
    _fold(recorded.event, recorded.seq, state)
    if isinstance(recorded.event, GPUAllocated) and recorded.envelope.traceparent is not None:
        _update(state, recorded.event.allocation_id, traceparent=recorded.envelope.traceparent)


@singledispatch
def _fold(event: Event, seq: int, state: State) -> None:
    """Events that an agent does not care about."""


@_fold.register
def _(event: ExperimentSubmitted, seq: int, state: State) -> None:
    state.experiments[event.experiment_id] = Experiment(config=event.config, code_sha256=event.code_sha256)


@_fold.register(ExperimentCanceled)
@_fold.register(ExperimentCompleted)
@_fold.register(ExperimentFailed)
def _(event: ExperimentCanceled | ExperimentCompleted | ExperimentFailed, seq: int, state: State) -> None:
    state.experiments.pop(event.experiment_id, None)


@_fold.register
def _(event: TrialRequested, seq: int, state: State) -> None:
    state.trials[event.trial_id] = Trial(
        index=event.index, hyperparameters=event.hyperparameters, seed=event.seed, target=event.target
    )


@_fold.register
def _(event: TrialExtended, seq: int, state: State) -> None:
    if trial := state.trials.get(event.trial_id):
        state.trials[event.trial_id] = replace(trial, target=event.target)


@_fold.register
def _(event: TrialClosed, seq: int, state: State) -> None:
    state.trials.pop(event.trial_id, None)


@_fold.register
def _(event: CheckpointSaved, seq: int, state: State) -> None:
    if allocation := state.allocations.get(event.allocation_id):  # its parts are no longer waited for
        left = tuple(shard for shard in allocation.shards if shard.step != event.step)
        _update(state, event.allocation_id, shards=left)
    trial = state.trials.get(event.trial_id)
    if trial is None:
        return
    saved = Checkpoint(
        checkpoint_id=event.checkpoint_id,
        epoch=event.epoch,
        seq=seq,
        step=event.step,
        world_size=event.world_size,
        files=event.files,
    )
    # By epoch first: what a void allocation still stores late is not what the trial goes on from.
    newest = sorted(
        (*trial.checkpoints, saved), key=lambda checkpoint: (checkpoint.epoch, checkpoint.seq), reverse=True
    )
    state.trials[event.trial_id] = replace(trial, checkpoints=tuple(newest[:NUM_CHECKPOINTS]))


@_fold.register(CheckpointDeletionRequested)
@_fold.register(CheckpointDeleted)
@_fold.register(CheckpointRefused)
def _(event: CheckpointDeletionRequested | CheckpointDeleted | CheckpointRefused, seq: int, state: State) -> None:
    if trial := state.trials.get(event.trial_id):
        left = tuple(kept for kept in trial.checkpoints if kept.checkpoint_id != event.checkpoint_id)
        state.trials[event.trial_id] = replace(trial, checkpoints=left)


@_fold.register
def _(event: GPUAllocated, seq: int, state: State) -> None:
    for other in [other for other in state.allocations.values() if other.trial_id == event.trial_id]:
        del state.allocations[other.allocation_id]
    if (state.agent_id, state.incarnation) not in [(member.agent_id, member.incarnation) for member in event.members]:
        return
    state.allocations[event.allocation_id] = Allocation(
        allocation_id=event.allocation_id,
        trial_id=event.trial_id,
        experiment_id=event.experiment_id,
        epoch=event.epoch,
        seq=seq,
        members=event.members,
        experiment=state.experiments.get(event.experiment_id),
        trial=state.trials.get(event.trial_id),
    )


@_fold.register
def _(event: PreemptionRequested, seq: int, state: State) -> None:
    preemption = Preemption(seq=seq, reason=event.reason, timeout_s=event.timeout_s)
    _update(state, event.allocation_id, preemption=preemption)


@_fold.register
def _(event: GPUReleased, seq: int, state: State) -> None:
    state.allocations.pop(event.allocation_id, None)


@_fold.register
def _(event: RendezvousOpened, seq: int, state: State) -> None:
    allocation = state.allocations.get(event.allocation_id)
    if allocation and event.agent_id == allocation.chief:
        _update(state, event.allocation_id, rendezvous=Rendezvous(address=event.address, port=event.port))


@_fold.register
def _(event: CheckpointShardUploaded, seq: int, state: State) -> None:
    if allocation := state.allocations.get(event.allocation_id):
        shard = Shard(agent_id=event.agent_id, step=event.step, files=event.files)
        _update(state, event.allocation_id, shards=(*allocation.shards, shard))


@_fold.register
def _(event: GangMemberExited, seq: int, state: State) -> None:
    if allocation := state.allocations.get(event.allocation_id):
        _exit(
            state,
            allocation,
            MemberExit(
                agent_id=event.agent_id,
                seq=seq,
                outcome=event.outcome,
                exit_code=event.exit_code,
                error=event.error,
                rank=event.rank,
                cause=event.cause,
            ),
        )


@_fold.register
def _(event: AgentJoined, seq: int, state: State) -> None:
    if event.agent_id == state.agent_id:
        _join(event, state)
        return
    for allocation in list(state.allocations.values()):
        for member in allocation.members:
            if member.agent_id == event.agent_id and event.succeeds in (None, member.incarnation):
                _exit(state, allocation, MemberExit(agent_id=event.agent_id, seq=seq, outcome=None))


def _join(event: AgentJoined, state: State) -> None:
    """Somebody joined under this agent's name. The scheduler goes by the same rule."""
    is_in = state.present is None or event.succeeds is None or state.present in (event.succeeds, event.incarnation)
    if is_in:
        state.present = event.incarnation
    if event.incarnation == state.incarnation:
        state.standing = Standing.JOINED if is_in else Standing.RIVAL
    elif is_in and state.standing is Standing.JOINED:
        state.standing = Standing.REPLACED
        state.allocations.clear()


@_fold.register
def _(event: AgentRefused, seq: int, state: State) -> None:
    if (event.agent_id, event.incarnation) == (state.agent_id, state.incarnation):
        state.standing, state.refusal = Standing.REFUSED, event.reason
        state.allocations.clear()
        return
    _go(event, seq, state)


@_fold.register(AgentLeft)
@_fold.register(AgentLost)
def _(event: AgentLeft | AgentLost, seq: int, state: State) -> None:
    if (event.agent_id, event.incarnation) == (state.agent_id, state.incarnation):
        state.standing, state.present = Standing.LOST, None
        state.allocations.clear()
        return
    _go(event, seq, state)


def _go(event: AgentLeft | AgentLost | AgentRefused, seq: int, state: State) -> None:
    """Another incarnation is gone: a member of a gang, or the one that has this agent's name."""
    if (event.agent_id, event.incarnation) == (state.agent_id, state.present):
        state.present = None
        if state.standing is Standing.RIVAL:
            state.standing = Standing.JOINING
    for allocation in list(state.allocations.values()):
        for member in allocation.members:
            if (member.agent_id, member.incarnation) == (event.agent_id, event.incarnation):
                _exit(state, allocation, MemberExit(agent_id=event.agent_id, seq=seq, outcome=None))


@_fold.register(AgentEnabled)
@_fold.register(SlotRecovered)
@_fold.register(SlotUnhealthy)
def _(event: AgentEnabled | SlotRecovered | SlotUnhealthy, seq: int, state: State) -> None:
    if event.agent_id != state.agent_id:
        return
    if isinstance(event, SlotUnhealthy):
        state.faults[event.slot] = Fault(kind=event.fault, detail=event.detail)
    elif isinstance(event, SlotRecovered):
        state.faults.pop(event.slot, None)
    else:
        state.excused |= {slot: state.faults.pop(slot) for slot in event.slots if slot in state.faults}


def _exit(state: State, allocation: Allocation, ended: MemberExit) -> None:
    """Note how a member ended; only the first word about it counts, and only if it is a member."""
    members = {member.agent_id for member in allocation.members}
    if ended.agent_id in members and ended.agent_id not in {other.agent_id for other in allocation.exits}:
        _update(state, allocation.allocation_id, exits=(*allocation.exits, ended))


def _update(state: State, allocation_id: AllocationId, **changes: object) -> None:
    if allocation := state.allocations.get(allocation_id):
        state.allocations[allocation_id] = replace(allocation, **changes)  # type: ignore[arg-type] # typed by callers
