"""The life of a cluster as events, as many as one likes: searches of 100 trials, eight at a time, on 64 slots.

Each trial is requested, given a slot, started, reports ten validations, saves two checkpoints, exits, gives its slot
back and is closed: 18 events. What the searches want and what runs is interleaved at random, from a seed.
"""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

from shared import ids
from shared.events import (
    AgentJoined,
    CheckpointFile,
    CheckpointSaved,
    Event,
    ExperimentCompleted,
    ExperimentSubmitted,
    GangMember,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Outcome,
    ReleaseReason,
    Slot,
    SlotKind,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialRequested,
    TrialStarted,
)
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId

TRIALS, AT_ONCE, AGENTS, SLOTS = 100, 8, 16, 4
VALIDATIONS, STEPS = 10, 100
POOL, INCARNATION = PoolId("default"), "0a1b2c3d4e5f"
CONFIG = {
    "name": "benchmark",
    "entrypoint": "python train.py",
    "searcher": {"name": "random", "metric": "loss", "max_trials": TRIALS, "max_length": {"batches": 1000}},
    "hyperparameters": {"lr": {"type": "log", "base": 10, "minval": -5, "maxval": -1}},
}


class Place(NamedTuple):
    """One slot of one agent."""

    agent_id: AgentId
    slot: int


def events(seed: int = 1) -> Iterator[Event]:
    """Yield events for ever."""
    draw = random.Random(seed)
    free = deque(Place(AgentId(f"agent-{number}"), slot) for number in range(AGENTS) for slot in range(SLOTS))
    waiting: deque[tuple[ExperimentId, int]] = deque()
    running: list[tuple[Iterator[Event], Place, ExperimentId]] = []
    left: dict[ExperimentId, int] = {}
    for number in range(AGENTS):
        yield _joined(AgentId(f"agent-{number}"))
    for number in itertools.count(1):
        experiment_id = ExperimentId(f"e{number:07}")
        left[experiment_id] = TRIALS
        yield ExperimentSubmitted(
            experiment_id=experiment_id, name=f"search {number}", config=CONFIG, code_sha256="ab" * 32, code_bytes=1
        )
        yield from (_requested(experiment_id, index, draw) for index in range(1, TRIALS + 1))
        waiting.extend((experiment_id, index) for index in range(1, TRIALS + 1))
        while len(left) == AT_ONCE:
            while free and waiting:
                whose, index = waiting.popleft()
                running.append((_attempt(whose, index, free[0], draw), free.popleft(), whose))
            chosen = draw.randrange(len(running))
            life, place, whose = running[chosen]
            if event := next(life, None):
                yield event
                continue
            running[chosen] = running[-1]
            running.pop()
            free.append(place)
            left[whose] -= 1
            if not left[whose]:
                del left[whose]
                best = ids.trial_id(whose, 1)
                yield ExperimentCompleted(experiment_id=whose, best_trial_id=best, best_metric=0.1)


def _joined(agent_id: AgentId) -> Event:
    slots = tuple(Slot(number=n, kind=SlotKind.CPU, name="cpu") for n in range(SLOTS))
    return AgentJoined(agent_id=agent_id, incarnation=INCARNATION, pool_id=POOL, address="10.0.0.1", slots=slots)


def _requested(experiment_id: ExperimentId, index: int, draw: random.Random) -> Event:
    return TrialRequested(
        experiment_id=experiment_id,
        trial_id=ids.trial_id(experiment_id, index),
        index=index,
        hyperparameters={"lr": 10 ** draw.uniform(-5, -1), "layers": draw.randint(1, 8), "dropout": draw.random()},
        seed=draw.getrandbits(32),
        slots=1,
        pool_id=POOL,
        origin="random",
    )


def _attempt(experiment_id: ExperimentId, index: int, place: Place, draw: random.Random) -> Iterator[Event]:
    trial_id = ids.trial_id(experiment_id, index)
    allocation_id = ids.allocation_id(trial_id, 1)
    member = GangMember(agent_id=place.agent_id, incarnation=INCARNATION, slots=(place.slot,))
    speaking = Speaking(
        trial_id=trial_id, experiment_id=experiment_id, allocation_id=allocation_id, epoch=1, agent_id=place.agent_id
    )
    yield GPUAllocated(
        pool_id=POOL,
        allocation_id=allocation_id,
        trial_id=trial_id,
        experiment_id=experiment_id,
        epoch=1,
        members=(member,),
    )
    yield TrialStarted(**speaking, world_size=1, warm=True, resumed_from=None)
    for number in range(1, VALIDATIONS + 1):
        step, loss = number * STEPS, draw.random()
        yield MetricReported(**speaking, step=step, metrics={"loss": loss, "accuracy": 1 - loss})
        if number % (VALIDATIONS // 2) == 0:
            file = CheckpointFile(path="model.pt", size_bytes=1_000_000, sha256="cd" * 32)
            saved = ids.checkpoint_id(allocation_id, step)
            yield CheckpointSaved(**speaking, checkpoint_id=saved, step=step, world_size=1, zero_stage=1, files=(file,))
    yield TrialExited(**speaking, outcome=Outcome.COMPLETED, exit_code=0, error=None)
    yield GPUReleased(
        pool_id=POOL, allocation_id=allocation_id, trial_id=trial_id, epoch=1, reason=ReleaseReason.EXITED
    )
    end, reason = TrialEnd.COMPLETED, "trained to its end"
    yield TrialClosed(
        experiment_id=experiment_id, trial_id=trial_id, end=end, reason=reason, metric=0.1, step=VALIDATIONS * STEPS
    )


class Speaking(TypedDict):
    """What every event of an attempt says."""

    trial_id: TrialId
    experiment_id: ExperimentId
    allocation_id: AllocationId
    epoch: int
    agent_id: AgentId
