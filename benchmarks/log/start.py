"""How long a decider takes to start: to know everything that the log holds, so that it can decide.

The log is told the lives of finished searches of 100 trials, nine events a trial. A start without a snapshot folds all
of it; one with a snapshot restores it and folds the rest, here as much as there can be before the next snapshot.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from benchmarks.report import Row
from services.scheduler.pool import pool_policy
from services.scheduler.service import Scheduler
from services.searcher.service import Searcher
from shared import ids, log
from shared.codec import Envelope
from shared.decisions import SNAPSHOT_EVENTS, DecisionLoop
from shared.events import (
    Event,
    ExperimentCompleted,
    ExperimentSubmitted,
    GangMember,
    GPUAllocated,
    GPUReleased,
    MetricReported,
    Outcome,
    ReleaseReason,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialRequested,
    TrialStarted,
)
from shared.ids import AgentId, ExperimentId, PoolId
from shared.log import envelope_of

TRIALS = 100
NOBODY = "tm.nobody.>"
HEAD_TIMEOUT_S = 120.0
POLL_S = 0.002

_AGENT, _POOL, _INCARNATION = AgentId("a1"), PoolId("default"), "0a1b2c3d4e5f"
_CONFIG = {
    "name": "bench",
    "entrypoint": "python train.py",
    "searcher": {"name": "random", "metric": "loss", "max_trials": TRIALS},
    "hyperparameters": {"x": {"type": "double", "minval": 0.0, "maxval": 1.0}},
}


async def rows(client: Client, directory: Path, sizes: tuple[int, ...]) -> list[Row]:
    """Return how long scheduler and searcher take to start on logs of so many events."""
    lives = _lives()
    found: list[Row] = []
    for size in sizes:
        await _extend(client, lives, size - SNAPSHOT_EVENTS + 1)
        starters: dict[str, Callable[[Path], DecisionLoop[Any]]] = {
            "scheduler": lambda state: _scheduler(client, state),
            "searcher": lambda state: Searcher(client, instance="bench", state_directory=state).loop,
        }
        whole = {name: await _start_s(start(directory / f"{name}-{size}")) for name, start in starters.items()}
        await _extend(client, lives, size)
        for name, start in starters.items():
            rest = await _start_s(start(directory / f"{name}-{size}"))
            about = f"{name}'s start, {size:,} events"
            found.append(Row(what=f"{about}, without snapshot", unit="s", values=(whole[name],)))
            found.append(Row(what=f"{about}, with snapshot", unit="s", values=(rest,)))
    return found


def _scheduler(client: Client, state: Path) -> DecisionLoop[Any]:
    scheduler = Scheduler(
        client, instance="bench", agent_timeout_s=10.0, policy=pool_policy("priority"), state_directory=state
    )
    return scheduler.loop


async def _start_s(loop: DecisionLoop[Any]) -> float:
    """Run a decider until it knows all of the log; return the seconds. Its end writes the snapshot."""
    began = time.perf_counter()
    task = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            while not (loop.follower.at_head and loop.fold.position):  # noqa: ASYNC110 # a decider tells nobody
                await asyncio.sleep(POLL_S)
        return time.perf_counter() - began
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _extend(client: Client, lives: Iterator[Envelope], size: int) -> None:
    """Append lives until the log has so many events or a batch more."""
    last = await log.last_of(client, "tm.>")
    seq = last.seq if last else 0
    while seq < size:
        batch = [envelope for envelope, _ in zip(lives, range(min(log.MAX_BATCH, size - seq)), strict=False)]
        seq = await log.append(client, batch, expected=0, scope=NOBODY)


def _lives() -> Iterator[Envelope]:
    """The searches one after the other, for ever."""
    number = 0
    while True:
        number += 1
        for event in _search(ExperimentId(f"bench{number}")):
            writer = event.rightful_writer
            yield envelope_of(event, writer=writer, actor=writer, correlation=f"bench{number}", causes=(1,))


def _search(experiment_id: ExperimentId) -> Iterator[Event]:
    yield ExperimentSubmitted(
        experiment_id=experiment_id, name="bench", config=_CONFIG, code_sha256="cd" * 32, code_bytes=2048
    )
    for index in range(1, TRIALS + 1):
        yield from _trial(experiment_id, index)
    yield ExperimentCompleted(
        experiment_id=experiment_id, best_trial_id=ids.trial_id(experiment_id, 1), best_metric=0.25
    )


def _trial(experiment_id: ExperimentId, index: int) -> Iterator[Event]:
    trial_id = ids.trial_id(experiment_id, index)
    allocation_id = ids.allocation_id(trial_id, 1)
    spoken: dict[str, Any] = {
        "trial_id": trial_id,
        "experiment_id": experiment_id,
        "allocation_id": allocation_id,
        "epoch": 1,
        "agent_id": _AGENT,
    }
    yield TrialRequested(
        experiment_id=experiment_id, trial_id=trial_id, index=index, hyperparameters={"x": 0.5}, seed=index, slots=1,
        pool_id=_POOL, origin="random",
    )  # fmt: skip
    yield GPUAllocated(
        pool_id=_POOL, allocation_id=allocation_id, trial_id=trial_id, experiment_id=experiment_id, epoch=1,
        members=(GangMember(agent_id=_AGENT, incarnation=_INCARNATION, slots=(0,)),),
    )  # fmt: skip
    yield TrialStarted(**spoken, world_size=1, warm=True, resumed_from=None)
    for step in (1, 2, 3):
        yield MetricReported(**spoken, step=step, metrics={"loss": 1 / step})
    yield TrialExited(**spoken, outcome=Outcome.COMPLETED, exit_code=0, error=None)
    yield GPUReleased(
        pool_id=_POOL, allocation_id=allocation_id, trial_id=trial_id, epoch=1, reason=ReleaseReason.EXITED
    )
    yield TrialClosed(
        experiment_id=experiment_id, trial_id=trial_id, end=TrialEnd.COMPLETED, reason="trained", metric=0.25, step=3
    )
