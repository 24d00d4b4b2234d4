"""A scheduler with a large fleet and a long queue, made of events as the log would make it: for benchmarks."""

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from services.scheduler.engine import Engine
from services.scheduler.memory import State
from services.scheduler.pool import pool_policy
from shared.events import (
    AgentJoined,
    DefaultPolicySet,
    Event,
    ExperimentSubmitted,
    GangMemberExited,
    GPUAllocated,
    Outcome,
    PreemptionRequested,
    Slot,
    SlotKind,
    TrialExited,
    TrialPreempted,
    TrialRequested,
)
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, trial_id
from shared.log import Recorded, envelope_of

POOL = PoolId("default")
SLOTS = 8  # of an agent
SIZES = (1, 1, 1, 2, 2, 4, 4, 8, 8, 16, 32, 64)
PRIORITIES = (10, 20, 42, 42, 42, 60, 80)
WEIGHTS = (1, 1, 2, 4)
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
AGENT_TIMEOUT_S = 10.0
EVENTS = ("trial requested", "trial exited", "slots released", "agent joined", "priority set")


class Figures(TypedDict):
    """What was measured in one scene."""

    kind: str
    policy: str
    waiting: int
    running: int
    median_ms: dict[str, float]
    slowest_ms: float
    full_pass_s: float
    memory_mb: float


@dataclass
class Fleet:
    """A scheduler's state and its engine."""

    policy_text: str
    state: State = field(default_factory=State)
    engine: Engine = field(default_factory=Engine)
    seq: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    running: dict[AllocationId, GPUAllocated] = field(default_factory=dict)
    sizes: dict[ExperimentId, int] = field(default_factory=dict)  # of the jobs' trials
    num_requested: int = 0
    num_agents: int = 0
    last_fold_s: float = 0.0  # how long folding the newest event took

    def __post_init__(self) -> None:
        """Say how the pool is scheduled."""
        self.policy = pool_policy(self.policy_text)
        self.fold(DefaultPolicySet(scope="default", policy=self.policy))

    def now(self) -> datetime:
        """The time of the newest event."""
        return BEGIN + timedelta(milliseconds=self.seq)

    def fold(self, *events: Event) -> None:
        """Fold events."""
        for event in events:
            self.seq += 1
            envelope = envelope_of(event, writer="bench", actor="bench", correlation="bench", time=self.now())
            recorded, started = Recorded(seq=self.seq, envelope=envelope), time.perf_counter()
            self.engine.fold(self.state, recorded)
            self.last_fold_s = time.perf_counter() - started
            if isinstance(event, GPUAllocated):
                self.running[event.allocation_id] = event

    def decide(self, engine: Engine | None = None) -> list[Event]:
        """Return what is needed now."""
        decisions = (engine or self.engine).decide(
            self.state, {}, now=self.now(), agent_timeout_s=AGENT_TIMEOUT_S, policy=self.policy
        )
        return [decision.event for decision in decisions]

    def settle(self) -> None:
        """Let the scheduler decide until nothing is needed; those asked to stop have stopped at once."""
        while decided := self.decide():
            self.carry_out(decided)

    def carry_out(self, decided: list[Event]) -> None:
        """Let what was decided happen."""
        self.fold(*decided)
        for event in decided:
            if isinstance(event, PreemptionRequested):
                self.end(self.running[event.allocation_id], is_preempted=True)

    def end(self, gang: GPUAllocated, *, is_preempted: bool = False) -> None:
        """Let a gang's ranks exit."""
        del self.running[gang.allocation_id]
        about = (gang.trial_id, gang.experiment_id, gang.allocation_id, gang.epoch)
        trial, experiment, allocation, epoch = about
        chief, *others = (member.agent_id for member in gang.members)
        for agent_id in others:
            self.fold(
                GangMemberExited(
                    trial_id=trial, experiment_id=experiment, allocation_id=allocation, epoch=epoch,
                    agent_id=agent_id, outcome=Outcome.COMPLETED, exit_code=0, error=None,
                )
            )  # fmt: skip
        if is_preempted:
            self.fold(
                TrialPreempted(
                    trial_id=trial, experiment_id=experiment, allocation_id=allocation, epoch=epoch,
                    agent_id=chief, step=1,
                )
            )  # fmt: skip
        else:
            self.fold(
                TrialExited(
                    trial_id=trial, experiment_id=experiment, allocation_id=allocation, epoch=epoch,
                    agent_id=chief, outcome=Outcome.COMPLETED, exit_code=0, error=None,
                )
            )  # fmt: skip

    def submit(self, *, max_slots: int | None = None, is_preemptible: bool = True) -> ExperimentId:
        """Let a job come: its trials are of one size; a priority, a weight."""
        experiment_id = ExperimentId(f"job{len(self.sizes)}")
        size = self.sizes[experiment_id] = self.dice.choice(SIZES)
        resources = {
            "priority": self.dice.choice(PRIORITIES),
            "weight": float(self.dice.choice(WEIGHTS)),
            "max_slots": None if max_slots is None else max(size, max_slots // size * size),
            "preemptible": is_preemptible,
        }
        config = {"workspace": "", "resources": resources}
        self.fold(
            ExperimentSubmitted(experiment_id=experiment_id, name="", config=config, code_sha256="", code_bytes=0)
        )
        return experiment_id

    def request(self, experiment_id: ExperimentId) -> None:
        """Let a job request a trial."""
        self.num_requested += 1
        self.fold(
            TrialRequested(
                experiment_id=experiment_id,
                trial_id=trial_id(experiment_id, self.num_requested),
                index=self.num_requested,
                hyperparameters={},
                seed=1,
                slots=self.sizes[experiment_id],
                pool_id=POOL,
                origin="bench",
            )
        )

    def join(self) -> None:
        """Let an agent join."""
        number, self.num_agents = self.num_agents, self.num_agents + 1
        self.fold(
            AgentJoined(
                agent_id=AgentId(f"agent{number:05}"),
                incarnation="one",
                pool_id=POOL,
                address=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
                slots=tuple(Slot(number=slot, kind=SlotKind.CUDA, name="GPU") for slot in range(SLOTS)),
                labels={"switch": f"switch{number // 32}"},
            )
        )

    @property
    def num_waiting(self) -> int:
        """How many trials wait."""
        return len(self.state.waiting[POOL])

    @property
    def num_held(self) -> int:
        """How many slots are held."""
        return sum(len(member.slots) for gang in self.running.values() for member in gang.members)


def saturated(policy: str, num_agents: int, num_waiting: int, trials_per_job: int) -> Fleet:
    """A fleet of which no slot is free that anybody could use, and a queue behind it."""
    fleet = Fleet(policy)
    for _ in range(num_agents):
        fleet.join()
    wanted, asked = num_agents * SLOTS, 0
    while asked < wanted or fleet.num_waiting < num_waiting:
        job = fleet.submit()
        for _ in range(trials_per_job):
            fleet.request(job)
        asked += fleet.sizes[job] * trials_per_job
        if wanted <= asked and fleet.num_waiting >= num_waiting:
            fleet.settle()
    return fleet


def part_filled(policy: str, num_agents: int, num_waiting: int, trials_per_job: int) -> Fleet:
    """A fleet of which a third is free while as many wait: jobs that hold their max_slots, and a gang that nobody may
    pass, as what runs cannot be stopped."""
    fleet = Fleet(policy)
    for _ in range(num_agents):
        fleet.join()
    num_jobs = num_waiting // trials_per_job
    for _ in range(num_jobs):
        job = fleet.submit(max_slots=num_agents * SLOTS * 2 // 3 // num_jobs, is_preemptible=False)
        for _ in range(trials_per_job):
            fleet.request(job)
    fleet.settle()
    return fleet
