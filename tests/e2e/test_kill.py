"""Everything is killed in the middle of a search, one after the other; the search does not notice in its result."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.events import (
    ExperimentCompleted,
    GPUAllocated,
    MetricReported,
    TrialClosed,
    TrialEnd,
    TrialRequested,
    TrialRetried,
)
from tests.e2e.chaos import LogReader, count, in_training, rank_pids
from tests.simulation.oracle import Oracle
from tests.support.eventually import eventually
from tests.support.platform import RunningPlatform, start_platform, stop_platform

NUM_TRIALS = 12
STEPS = 120
PROGRAMS = ("nats", "postgres", "s3", "gateway", "scheduler", "searcher", "tracker", "worker-local")

TRAIN = """
import time
from pathlib import Path
import trainmaster as tm

HURRY = Path({hurry!r})
with tm.trial() as trial:
    for step in trial.steps(resume={{}}):
        time.sleep(0.01 if HURRY.exists() else 0.25)  # the search is to outlive the killing
        trial.report(step, loss=1.0 / step)
        if step % 5 == 0:
            trial.report_validation(step, loss=trial.hyperparameters.x / step)
            trial.checkpoint({{}}, step)
"""
SEARCH = {
    "name": "kill",
    "entrypoint": "python train.py",
    "searcher": {
        "name": "bayesian",
        "metric": "loss",
        "max_trials": NUM_TRIALS,
        "max_length": STEPS,
        "initial_trials": 3,
    },
    "hyperparameters": {"x": {"type": "double", "minval": 0.1, "maxval": 1.0}},
    "resources": {"slots_per_trial": 1},
}


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[RunningPlatform]:
    """A platform that nobody else needs alive."""
    platform = start_platform(tmp_path / "data", "cpu:2")
    yield platform
    stop_platform(platform)


@pytest.mark.timeout(600)
async def test_a_search_survives_the_killing_of_everything(own_platform: RunningPlatform, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    hurry = tmp_path / "hurry"
    (code / "train.py").write_text(TRAIN.format(hurry=str(hurry)))
    (code / "search.json").write_text(json.dumps(SEARCH))
    submitted = own_platform.tm("submit", str(code / "search.json"), "--json")
    assert submitted.returncode == 0, submitted.stderr
    log = LogReader(own_platform)
    for program in PROGRAMS:
        seen = await log.until(lambda events: count(events, MetricReported) > 0)
        own_platform.kill(program)
        metrics, wanted = count(seen, MetricReported), count(seen, GPUAllocated)
        await log.until(  # life goes on before the next one dies
            lambda events, metrics=metrics, wanted=wanted: (  # type: ignore[misc]
                count(events, MetricReported) > metrics or count(events, GPUAllocated) > wanted
            )
        )

    async def ranks() -> list[int]:
        allocations = in_training(await log.until(lambda events: True), before_step=STEPS // 2)
        return [pid for allocation in allocations for pid in rank_pids(own_platform, allocation)]

    os.kill((await eventually(ranks, timeout_s=60))[0], signal.SIGKILL)
    hurry.touch()

    events = await log.until(lambda events: count(events, ExperimentCompleted) > 0, timeout_s=300)

    oracle = Oracle(max_trials=NUM_TRIALS, max_concurrent=2)
    oracle.replay(events)
    requested = [event.index for event in events if isinstance(event, TrialRequested)]
    assert sorted(requested) == list(range(1, NUM_TRIALS + 1))
    assert [event.end for event in events if isinstance(event, TrialClosed)] == [TrialEnd.COMPLETED] * NUM_TRIALS
    assert count(events, TrialRetried) == 1, "the killed rank was not noticed"
    shown = json.loads(own_platform.tm("show", json.loads(submitted.stdout)["id"], "--json").stdout)["experiment"]
    assert shown["state"] == "COMPLETED"
    assert shown["trials"]["completed"] == shown["trials"]["total"] == NUM_TRIALS
