"""Trials per second through the real services and log, with stub agents: how fast the control plane alone can go.

A stub agent starts no process: it answers every GPUAllocated with TrialStarted, MetricReported and TrialExited, in one
atomic append for all that came together. All else is real: gateway, searcher, scheduler, tracker, NATS with every
append flushed to disk, PostgreSQL.

Beside it Optuna, which has no services: its own `optimize` on a study in the same PostgreSQL server, random search, a
trial that only returns a number; with one process and with two.
"""

import asyncio
import contextlib
import json
import tempfile
from datetime import datetime
from pathlib import Path

import asyncpg
import click
from nats.aio.client import Client

from benchmarks import peers
from benchmarks.platform import Platform, platform
from benchmarks.report import Row, show
from shared import broker, log, subjects
from shared.decisions import Fold
from shared.events import (
    AgentJoined,
    Event,
    GPUAllocated,
    MetricReported,
    Outcome,
    Slot,
    SlotKind,
    TrialExited,
    TrialStarted,
)
from shared.ids import AgentId, PoolId, new_incarnation
from shared.log import Follower, Recorded, envelope_of
from shared.runtime import beat
from trainmaster.cli.options import json_option
from trainmaster.embedded.nats import ADMIN, user_url
from trainmaster.embedded.postgres import postgres_url

RUNS = 3
TRIALS = 3000
OPTUNA_TRIALS = 200
SLOTS = 128
AGENT = AgentId("stub")
POOL = PoolId("stubs")
EVENTS_PER_TRIAL = 3
_OPTUNA = Path(__file__).parent / "scripts" / "optuna_trials.py"
CONFIG = {
    "name": "stub trials",
    "entrypoint": "python train.py",
    "searcher": {"name": "random", "metric": "loss", "max_trials": TRIALS, "max_concurrent_trials": 2 * SLOTS},
    "hyperparameters": {"x": {"type": "double", "minval": 0.0, "maxval": 1.0}},
    "resources": {"resource_pool": POOL},
}


@click.command()
@click.option("--no-optuna", is_flag=True, help="Not beside Optuna, which is installed on first need.")
@json_option
def main(*, no_optuna: bool, as_json: bool) -> None:
    """Measure and print the table."""
    with platform("cpu:1") as running, tempfile.TemporaryDirectory() as code:
        (Path(code) / "train.py").write_text("pass\n")
        rates = tuple(asyncio.run(_measure(running, Path(code))) for _ in range(RUNS))
        rows = [Row(what=f"{TRIALS} trials on {SLOTS} stub slots", unit="/s", values=rates)]
        rows += [] if no_optuna else asyncio.run(_optuna(running.data))
    show("trials per second through the control plane", rows, as_json=as_json)


async def _optuna(data: Path) -> list[Row]:
    ports = json.loads((data / "ports.json").read_text())
    password = json.loads((data / "credentials.json").read_text())["postgres"]
    connection = await asyncpg.connect(postgres_url(ports["postgres"], password))
    await connection.execute("CREATE DATABASE optuna")
    await connection.close()
    url = postgres_url(ports["postgres"], password, "optuna").replace("postgresql://", "postgresql+psycopg2://")
    rows = []
    for number in (1, 2):
        rates = []
        for run in range(RUNS):
            study = f"{number} processes, run {run}"
            peers.rate(_OPTUNA, url, study, "1")  # makes the study, and the tables
            rates.append(peers.rate(_OPTUNA, url, study, str(OPTUNA_TRIALS // number), num_processes=number))
        what = f"Optuna on the same PostgreSQL, {number} process{'es' if number > 1 else ''}"
        rows.append(Row(what=what, unit="/s", values=tuple(rates)))
    return rows


async def _measure(running: Platform, code: Path) -> float:
    async with broker.connect(admin_url(running.data), "stub agent") as client:
        agent = StubAgent(client)
        await agent.join()
        task = asyncio.create_task(agent.run(), name="stub agent")
        try:
            experiment_id = await asyncio.to_thread(running.submit, CONFIG, code)
            await asyncio.to_thread(running.wait_for, experiment_id)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        events = await asyncio.to_thread(running.events, experiment_id)
    first = min(_time_s(event) for event in events if event["name"] == "GPUAllocated")
    closings = [_time_s(event) for event in events if event["name"] == "TrialClosed"]
    if len(closings) != TRIALS:
        raise SystemExit(f"{len(closings)} of {TRIALS} trials were closed")
    return TRIALS / (max(closings) - first)


class StubAgent:
    """Says what an agent says, at once."""

    def __init__(self, client: Client, num_slots: int = SLOTS) -> None:
        self._client = client
        self._num_slots = num_slots
        self._incarnation = new_incarnation()
        self._allocated: list[Recorded] = []
        self._last = 0

    async def join(self) -> None:
        """Offer the slots."""
        before = await log.last_of(self._client, subjects.writer_subject(subjects.agent_writer(AGENT)))
        self._last = before.seq if before else 0
        slots = tuple(Slot(number=number, kind=SlotKind.CPU, name="stub") for number in range(self._num_slots))
        joined = AgentJoined(
            agent_id=AGENT, incarnation=self._incarnation, pool_id=POOL, address="127.0.0.1", slots=slots
        )
        await self.say([(joined, (), AGENT)])

    async def run(self) -> None:
        """Answer allocations for ever."""
        fold, follower = Fold(self._note), Follower(self._client, subjects.EVENTS)
        health = subjects.health_subject("worker", AGENT)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(beat(self._client, health, lambda: {"incarnation": self._incarnation}))
            while True:
                fold(await follower.next())
                batch_size = log.MAX_BATCH // EVENTS_PER_TRIAL
                while self._allocated:
                    batch, self._allocated = self._allocated[:batch_size], self._allocated[batch_size:]
                    await self.say([said for recorded in batch for said in self._life(recorded)])

    def speaking(self, event: GPUAllocated) -> dict[str, object]:
        """What an agent's events about a trial have in common."""
        return {
            "trial_id": event.trial_id,
            "experiment_id": event.experiment_id,
            "allocation_id": event.allocation_id,
            "epoch": event.epoch,
            "agent_id": AGENT,
        }

    def _note(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, GPUAllocated) and event.members[0].agent_id == AGENT:
            self._allocated.append(recorded)

    def _life(self, recorded: Recorded) -> list[tuple[Event, tuple[int, ...], str]]:
        event = recorded.event
        assert isinstance(event, GPUAllocated)
        speaking = self.speaking(event)
        life: tuple[Event, ...] = (
            TrialStarted(**speaking, world_size=1, warm=True, resumed_from=None),  # type: ignore[arg-type]
            MetricReported(**speaking, step=1, metrics={"loss": 0.5}),  # type: ignore[arg-type]
            TrialExited(**speaking, outcome=Outcome.COMPLETED, exit_code=0, error=None),  # type: ignore[arg-type]
        )
        return [(said, (recorded.seq,), event.experiment_id) for said in life]

    async def say(self, facts: list[tuple[Event, tuple[int, ...], str]]) -> None:
        """Append facts, each with its causes and correlation."""
        writer = subjects.agent_writer(AGENT)
        envelopes = [
            envelope_of(event, writer=writer, actor=writer, correlation=correlation, causes=causes)
            for event, causes, correlation in facts
        ]
        scope = subjects.writer_subject(writer)
        self._last = await log.append(self._client, envelopes, expected=self._last, scope=scope)


def admin_url(data: Path) -> str:
    """Return the broker's address, with all rights."""
    ports = json.loads((data / "ports.json").read_text())
    passwords = json.loads((data / "credentials.json").read_text())["nats"]
    return user_url(ports["nats"], ADMIN, passwords[ADMIN])


def _time_s(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
