"""Trials that report and report: an agent that says what an agent says, at a pace."""

import asyncio
import contextlib
import math
import tempfile
import threading
from pathlib import Path

from nats.aio.client import Client

from benchmarks.platform import Platform
from benchmarks.stub_trials import POOL, StubAgent, admin_url
from shared import broker
from shared.events import Event, GPUAllocated, MetricReported, TrialStarted
from shared.log import Recorded

TRIALS = 20
PERIOD_S = 0.25
SPACE = {"lr": {"type": "log", "minval": -4.0, "maxval": -1.0}, "layers": {"type": "int", "minval": 1, "maxval": 4}}
_LIVE = {
    "name": "reporting",
    "entrypoint": "python train.py",
    "searcher": {"name": "random", "metric": "loss", "max_trials": TRIALS, "max_concurrent_trials": TRIALS},
    "hyperparameters": SPACE,
    "resources": {"resource_pool": POOL},
}
_ONE = {
    "name": "crowd",
    "entrypoint": "python train.py",
    "launcher": "plain",
    "searcher": {
        "name": "random",
        "metric": "accuracy",
        "smaller_is_better": False,
        "max_trials": 3,
        "max_length": {"batches": 1},
    },
    "hyperparameters": SPACE,
}
_SCRIPT = """
import trainmaster as tm

with tm.trial() as trial:
    for step in trial.steps():
        trial.report_validation(step, accuracy=0.5)
"""


def search_of_one(running: Platform) -> str:
    """Have a small search done; return the experiment's id."""
    with tempfile.TemporaryDirectory() as code:
        (Path(code) / "train.py").write_text(_SCRIPT)
        experiment_id = running.submit(_ONE, Path(code))
    running.wait_for(experiment_id)
    return experiment_id


def begin(running: Platform) -> str:
    """Submit the search whose trials `speak` has report; return the experiment's id."""
    with tempfile.TemporaryDirectory() as code:
        (Path(code) / "train.py").write_text("pass\n")
        return running.submit(_LIVE, Path(code))


def speak(data: Path, ended: threading.Event) -> None:
    """Be the agent of the search until told to end."""
    asyncio.run(_speak(data, ended))


async def _speak(data: Path, ended: threading.Event) -> None:
    async with broker.connect(admin_url(data), "reporting agent") as client:
        agent = ReportingAgent(client)
        await agent.join()
        task = asyncio.create_task(agent.run(), name="reporting agent")
        step = 0
        while not ended.is_set():
            await asyncio.sleep(PERIOD_S)
            step += 1
            await agent.report(step)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class ReportingAgent(StubAgent):
    """Starts what it is given, and has all of it validate when told to."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.running: list[GPUAllocated] = []

    def _life(self, recorded: Recorded) -> list[tuple[Event, tuple[int, ...], str]]:
        event = recorded.event
        assert isinstance(event, GPUAllocated)
        started = TrialStarted(**self.speaking(event), world_size=1, warm=True, resumed_from=None)  # type: ignore[arg-type]
        self.running.append(event)
        return [(started, (recorded.seq,), event.experiment_id)]

    async def report(self, step: int) -> None:
        """One validation of each trial, in one append."""
        said: list[tuple[Event, tuple[int, ...], str]] = [
            (self._validation(number, event, step), (), event.experiment_id)
            for number, event in enumerate(self.running)
        ]
        if said:
            await self.say(said)

    def _validation(self, number: int, event: GPUAllocated, step: int) -> Event:
        loss = math.exp(-step / (20 + 5 * number)) + 0.01 * math.sin(step + number)
        return MetricReported(**self.speaking(event), step=step, metrics={"loss": loss})  # type: ignore[arg-type]
