"""What an agent tells its gangs, as histories: given events, then orders."""

from services.worker.allocation import MemberExit, Rendezvous, Shard
from services.worker.decide import Kill, KillReason, Order, Start, Stop, decide, settled
from services.worker.state import Standing, State, evolve
from shared.events import (
    AgentJoined,
    AgentLost,
    CheckpointFile,
    CheckpointSaved,
    CheckpointShardUploaded,
    Event,
    ExperimentCanceled,
    ExperimentSubmitted,
    GangMember,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    Outcome,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
    RendezvousOpened,
    TrialClosed,
    TrialEnd,
    TrialExtended,
    TrialRequested,
)
from shared.ids import AgentId, AllocationId, CheckpointId, ExperimentId, PoolId, TrialId
from tests.support.history import History

ME, OTHER = AgentId("me"), AgentId("other")
EXPERIMENT, TRIAL, POOL = ExperimentId("exp"), TrialId("exp-1"), PoolId("default")
FIRST, SECOND = AllocationId("exp-1-a1"), AllocationId("exp-1-a2")
FILE = CheckpointFile(path="w", size_bytes=1, sha256="0")


class World:
    """An agent's memory, and what it has told its gangs."""

    def __init__(self, *events: Event) -> None:
        self.told: dict[AllocationId, set[Order]] = {}
        self._history = History(State(agent_id=ME, incarnation="i1"), evolve, lambda state: None)
        self._history.fold([joined(ME, "i1"), joined(OTHER, "o1"), submitted(), requested(), *events])

    @property
    def state(self) -> State:
        return self._history.state

    def seq_of(self, kind: type[Event]) -> int:
        return self._history.seq_of(kind)

    def fold(self, *events: Event) -> list[tuple[AllocationId, Order]]:
        """Fold events and return what is told then; asked again, there is nothing."""
        self._history.fold(events)
        orders = decide(self.state, self.told)
        for allocation_id, order in orders:
            self.told.setdefault(allocation_id, set()).add(order)
        assert decide(self.state, self.told) == []
        return orders


def joined(agent_id: AgentId, incarnation: str) -> AgentJoined:
    return AgentJoined(agent_id=agent_id, incarnation=incarnation, pool_id=POOL, address="127.0.0.1", slots=())


def submitted() -> ExperimentSubmitted:
    return ExperimentSubmitted(experiment_id=EXPERIMENT, name="e", config={"a": 1}, code_sha256="c0de", code_bytes=1)


def requested() -> TrialRequested:
    return TrialRequested(
        experiment_id=EXPERIMENT, trial_id=TRIAL, index=1, hyperparameters={}, seed=1, slots=1, pool_id=POOL, origin="x"
    )


def allocated(*members: tuple[AgentId, str], epoch: int = 1) -> GPUAllocated:
    return GPUAllocated(
        pool_id=POOL,
        allocation_id=AllocationId(f"{TRIAL}-a{epoch}"),
        trial_id=TRIAL,
        experiment_id=EXPERIMENT,
        epoch=epoch,
        members=tuple(GangMember(agent_id=agent, incarnation=life, slots=(0,)) for agent, life in members),
    )


def released(epoch: int = 1) -> GPUReleased:
    allocation_id = AllocationId(f"{TRIAL}-a{epoch}")
    return GPUReleased(
        pool_id=POOL, allocation_id=allocation_id, trial_id=TRIAL, epoch=epoch, reason=ReleaseReason.EXITED
    )


def preemption(reason: PreemptionReason) -> PreemptionRequested:
    return PreemptionRequested(pool_id=POOL, allocation_id=FIRST, trial_id=TRIAL, reason=reason, timeout_s=60)


def saved(step: int, epoch: int) -> CheckpointSaved:
    allocation_id = AllocationId(f"{TRIAL}-a{epoch}")
    return CheckpointSaved(
        trial_id=TRIAL, experiment_id=EXPERIMENT, allocation_id=allocation_id, epoch=epoch, agent_id=ME,
        checkpoint_id=CheckpointId(f"{allocation_id}-s{step}"), step=step, world_size=1, zero_stage=None, files=(FILE,),
    )  # fmt: skip


def member_exited(outcome: Outcome) -> GangMemberExited:
    return GangMemberExited(
        trial_id=TRIAL, experiment_id=EXPERIMENT, allocation_id=FIRST, epoch=1, agent_id=OTHER,
        outcome=outcome, exit_code=1, error="boom",
    )  # fmt: skip


def test_an_allocation_of_this_incarnation_is_started_once() -> None:
    assert World().fold(allocated((ME, "i1"))) == [(FIRST, Start())]


def test_an_allocation_of_an_earlier_life_or_of_others_is_not_ours() -> None:
    assert World().fold(allocated((ME, "i0"))) == []
    assert World().fold(allocated((OTHER, "o1"))) == []


def test_what_is_to_run_is_pinned_when_the_slots_are_given() -> None:
    world = World(
        saved(3, epoch=1),
        allocated((ME, "i1"), epoch=2),
        saved(4, epoch=1),
        ExperimentCanceled(experiment_id=EXPERIMENT),
    )
    allocation = world.state.allocations[SECOND]
    assert allocation.experiment is not None and allocation.experiment.code_sha256 == "c0de"
    assert allocation.trial is not None and [each.step for each in allocation.trial.checkpoints] == [3]


def test_the_newest_checkpoint_is_that_of_the_newest_epoch() -> None:
    world = World(saved(3, epoch=1), saved(2, epoch=2), saved(9, epoch=1), allocated((ME, "i1"), epoch=3))
    trial = world.state.allocations[AllocationId("exp-1-a3")].trial
    assert trial is not None and [(each.epoch, each.step) for each in trial.checkpoints] == [(2, 2), (1, 9), (1, 3)]


def test_a_paused_experiment_asks_to_stop() -> None:
    world = World(allocated((ME, "i1")))
    world.fold()
    orders = world.fold(preemption(PreemptionReason.PAUSED))
    seq = world.seq_of(PreemptionRequested)
    assert orders == [(FIRST, Stop(reason="experiment paused", timeout_s=60, seq=seq))]


def test_a_gang_that_has_lost_an_agent_is_killed_not_asked() -> None:
    world = World(allocated((OTHER, "o1"), (ME, "i1")))
    world.fold()
    orders = world.fold(preemption(PreemptionReason.AGENT_LOST))
    assert orders == [(FIRST, Kill(reason=KillReason.AGENT_LOST, seq=world.seq_of(PreemptionRequested)))]


def test_a_released_allocation_is_void() -> None:
    world = World(allocated((ME, "i1")))
    world.fold()
    assert world.fold(released()) == [(FIRST, Kill(reason=KillReason.VOID))]


def test_a_newer_epoch_voids_the_one_before_wherever_it_runs() -> None:
    world = World(allocated((ME, "i1")))
    world.fold()
    assert world.fold(allocated((OTHER, "o1"), epoch=2)) == [(FIRST, Kill(reason=KillReason.VOID))]


def test_the_other_agents_hear_from_the_chief_where_to_meet() -> None:
    opened = RendezvousOpened(
        trial_id=TRIAL,
        experiment_id=EXPERIMENT,
        allocation_id=FIRST,
        epoch=1,
        agent_id=OTHER,
        address="10.0.0.1",
        port=9,
    )
    place = Rendezvous(address="10.0.0.1", port=9)
    assert World(allocated((OTHER, "o1"), (ME, "i1"))).fold(opened) == [(FIRST, Start()), (FIRST, place)]
    assert World(allocated((ME, "i1"), (OTHER, "o1"))).fold(opened) == [(FIRST, Start())]


def test_the_chief_hears_how_the_others_ended_and_only_once() -> None:
    world = World(allocated((ME, "i1"), (OTHER, "o1")))
    world.fold()
    orders = world.fold(member_exited(Outcome.FAILED), member_exited(Outcome.COMPLETED))
    seq = world.seq_of(GangMemberExited) - 1
    told = MemberExit(agent_id=OTHER, seq=seq, outcome=Outcome.FAILED, exit_code=1, error="boom")
    assert orders == [(FIRST, told)]


def test_a_member_that_is_lost_or_starts_again_has_ended() -> None:
    lost = AgentLost(pool_id=POOL, agent_id=OTHER, incarnation="o1", silent_s=10)
    for event in (lost, joined(OTHER, "o2")):
        world = World(allocated((ME, "i1"), (OTHER, "o1")))
        world.fold()
        told = MemberExit(agent_id=OTHER, seq=world.seq_of(GPUAllocated) + 1, outcome=None)
        assert world.fold(event) == [(FIRST, told)]


def test_the_chief_hears_of_the_others_parts_of_a_checkpoint() -> None:
    shard = CheckpointShardUploaded(
        trial_id=TRIAL, experiment_id=EXPERIMENT, allocation_id=FIRST, epoch=1, agent_id=OTHER,
        checkpoint_id=CheckpointId("c"), step=4, files=(FILE,),
    )  # fmt: skip
    world = World(allocated((ME, "i1"), (OTHER, "o1")))
    world.fold()
    part = (FIRST, Shard(agent_id=OTHER, step=4, files=(FILE,)))
    assert world.fold(shard) == [part]
    assert settled(world.state, world.told) == []
    assert world.fold(saved(3, epoch=1)) == []
    assert settled(world.state, world.told) == []
    assert world.fold(saved(4, epoch=1)) == []
    assert world.state.allocations[FIRST].shards == (), "a gang's state does not grow with its checkpoints"
    assert settled(world.state, world.told) == [part]


def test_being_declared_lost_voids_everything() -> None:
    world = World(allocated((ME, "i1")))
    world.fold()
    orders = world.fold(AgentLost(pool_id=POOL, agent_id=ME, incarnation="i1", silent_s=10))
    assert orders == [(FIRST, Kill(reason=KillReason.VOID))]
    assert world.state.standing is Standing.LOST


def test_the_loss_of_an_earlier_life_means_nothing() -> None:
    world = World(allocated((ME, "i1")))
    world.fold()
    assert world.fold(AgentLost(pool_id=POOL, agent_id=ME, incarnation="i0", silent_s=10)) == []
    assert world.state.standing is Standing.JOINED


def test_another_process_of_the_same_name_replaces_this_one() -> None:
    world = World(allocated((ME, "i1")))
    world.fold()
    assert world.fold(joined(ME, "i2")) == [(FIRST, Kill(reason=KillReason.VOID))]
    assert world.state.standing is Standing.REPLACED


def test_what_is_over_is_forgotten() -> None:
    closed = TrialClosed(
        experiment_id=EXPERIMENT, trial_id=TRIAL, end=TrialEnd.COMPLETED, reason="", metric=None, step=None
    )
    world = World(allocated((ME, "i1")), released(), closed, ExperimentCanceled(experiment_id=EXPERIMENT))
    assert (world.state.allocations, world.state.trials, world.state.experiments) == ({}, {}, {})


def test_an_extended_trial_is_given_its_new_target() -> None:
    world = World()
    world.fold(TrialExtended(experiment_id=EXPERIMENT, trial_id=TRIAL, rung=2, target=300, reason="best"))
    assert world.state.trials[TRIAL].target == 300
