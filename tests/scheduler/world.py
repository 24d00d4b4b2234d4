"""Builders for the scheduler's histories."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from services.scheduler.decide import decide
from services.scheduler.engine import Engine
from services.scheduler.memory import State, check_invariants
from shared.decisions import Decision
from shared.events import (
    DEFAULT_POLICY,
    AgentJoined,
    AgentLeft,
    DefaultPolicySet,
    Event,
    ExperimentSubmitted,
    GPUAllocated,
    Outcome,
    PoolPolicy,
    Slot,
    SlotKind,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialPreempted,
    TrialRequested,
)
from shared.ids import AgentId, ExperimentId, PoolId, TrialId, trial_id
from tests.support.history import History

POOL = PoolId("default")
EXPERIMENT = ExperimentId("exp")


class World(History[State]):
    """A scheduler's state; `settle` lets it decide until nothing is needed.

    Whatever the engine decides is held against the whole decision, made from nothing but the state.
    """

    def __init__(self, *events: Event, policy: PoolPolicy = DEFAULT_POLICY) -> None:
        self.engine = Engine()
        super().__init__(State(), self.engine.fold, check_invariants)
        self.policy = policy
        self.waited = timedelta()  # since the newest event
        self.contested: set[str] = set()  # claimants whose names' owners were heard since
        self.fold([] if policy == DEFAULT_POLICY else [DefaultPolicySet(scope="default", policy=policy)])
        self.fold(events)

    def decide(self, silent_s: Mapping[AgentId, float] | None = None) -> list[Decision]:
        now = self.state.time + self.waited
        heard, silent_s = self.contested & self.state.claimants.keys(), silent_s or {}
        policy = self.policy
        decided = self.engine.decide(self.state, silent_s, now=now, agent_timeout_s=10, policy=policy, contested=heard)
        assert decided == decide(self.state, silent_s, now=now, agent_timeout_s=10, policy=policy, contested=heard)
        return decided

    def settle(self, silent_s: Mapping[AgentId, float] | None = None) -> list[Event]:
        """Fold what the scheduler decides until it decides nothing; return it all."""
        decided: list[Event] = []
        while decisions := self.decide(silent_s):
            events = [decision.event for decision in decisions]
            self.fold(events)
            decided += events
            assert len(decided) < 10_000, "the scheduler never settles"
        return decided


def submitted(experiment_id: str = EXPERIMENT, **resources: int | bool) -> ExperimentSubmitted:
    return ExperimentSubmitted(
        experiment_id=ExperimentId(experiment_id),
        name="test",
        config={"preemption_timeout": 30, "resources": resources},
        code_sha256="0" * 64,
        code_bytes=1,
    )


def requested(index: int, slots: int = 1, experiment_id: str = EXPERIMENT) -> TrialRequested:
    return TrialRequested(
        experiment_id=ExperimentId(experiment_id),
        trial_id=trial_id(ExperimentId(experiment_id), index),
        index=index,
        hyperparameters={},
        seed=index,
        slots=slots,
        pool_id=POOL,
        origin="test",
    )


def joined(agent_id: str, slots: int, incarnation: str = "i1", kind: SlotKind = SlotKind.CPU) -> AgentJoined:
    return AgentJoined(
        agent_id=AgentId(agent_id),
        incarnation=incarnation,
        pool_id=POOL,
        address="127.0.0.1",
        slots=tuple(Slot(number=number, kind=kind, name="cpu") for number in range(slots)),
    )


def left(agent_id: str, incarnation: str = "i1") -> AgentLeft:
    return AgentLeft(agent_id=AgentId(agent_id), incarnation=incarnation, reason="stopped")


def exited(allocated: GPUAllocated, outcome: Outcome = Outcome.COMPLETED) -> TrialExited:
    return TrialExited(**_speaking(allocated), outcome=outcome, exit_code=0, error=None)  # type: ignore[arg-type]


def preempted(allocated: GPUAllocated) -> TrialPreempted:
    return TrialPreempted(**_speaking(allocated), step=1)  # type: ignore[arg-type]


def closed(trial: TrialId) -> TrialClosed:
    return TrialClosed(
        experiment_id=EXPERIMENT, trial_id=trial, end=TrialEnd.COMPLETED, reason="done", metric=None, step=None
    )


def allocations(events: Iterable[Event]) -> dict[TrialId, dict[str, tuple[int, ...]]]:
    """Which slots each trial was given by these events."""
    return {
        event.trial_id: {member.agent_id: member.slots for member in event.members}
        for event in events
        if isinstance(event, GPUAllocated)
    }


def only(events: Iterable[Event]) -> GPUAllocated:
    """The one allocation among these events."""
    (allocated,) = (event for event in events if isinstance(event, GPUAllocated))
    return allocated


def _speaking(allocated: GPUAllocated) -> dict[str, object]:
    return {
        "trial_id": allocated.trial_id,
        "experiment_id": allocated.experiment_id,
        "allocation_id": allocated.allocation_id,
        "epoch": allocated.epoch,
        "agent_id": allocated.members[0].agent_id,
    }
