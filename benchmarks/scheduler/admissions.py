"""Durable gang admissions through the real log: how many gangs a second a scheduler process starts."""

import asyncio
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from nats.aio.client import Client

from benchmarks.report import Row, show
from shared import broker, log, subjects
from shared.decisions import Fold
from shared.events import (
    AgentJoined,
    Event,
    ExperimentSubmitted,
    GangMemberExited,
    GPUAllocated,
    GPUReleased,
    Outcome,
    Slot,
    SlotKind,
    TrialClosed,
    TrialEnd,
    TrialExited,
    TrialRequested,
)
from shared.ids import AgentId, ExperimentId, PoolId, trial_id
from shared.log import Follower, Recorded, envelope_of
from tests.support.servers import new_nats_server

GANGS = 5_000
RUNS = 3
AGENTS, SLOTS = 500, 8
SIZES = (1, 1, 1, 2, 2, 4, 4, 8, 8, 16, 32)
POOL = PoolId("default")


def measure(*, as_json: bool) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        nats = new_nats_server(Path(directory) / "nats")
        nats.server.start()
        settings = {"TM_NATS_URL": nats.url_as("scheduler"), "TM_AGENT_TIMEOUT_S": "600"}
        command = (sys.executable, "-P", "-m", "services.scheduler")
        scheduler = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.DEVNULL)
        try:
            rates = asyncio.run(_measure(nats.url))
        finally:
            scheduler.terminate()
            scheduler.wait()
            nats.server.stop()
    row = Row(what=f"gangs of {min(SIZES)} to {max(SIZES)} slots on {AGENTS} agents", unit="/s", values=rates)
    show("durable gang admissions", [row], as_json=as_json)


async def _measure(url: str) -> tuple[float, ...]:
    async with broker.connect(url, "benchmark") as client:
        await broker.create_streams(client)
        world = _World(client)
        world.say(*(_joined(number) for number in range(AGENTS)))
        return tuple([await world.run(ExperimentId(f"run{number}")) for number in range(RUNS)])


class _World:
    """Everybody but the scheduler: requests many trials at once; a gang's ranks exit as soon as it is started."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._follower = Follower(client, subjects.EVENTS)
        self._fold = Fold(self._answer)
        self._to_say: list[Event] = []
        self._last: dict[str, int] = {}  # by writer: the sequence of its last event
        self._started: list[datetime] = []

    def say(self, *events: Event) -> None:
        """Put events down to be appended."""
        self._to_say += events

    async def run(self, experiment_id: ExperimentId) -> float:
        """Request trials, let them run, and return how many were started in a second."""
        self._started.clear()
        self.say(_submitted(experiment_id), *(_requested(experiment_id, index) for index in range(GANGS)))
        while self._to_say or len(self._started) < GANGS:
            await self._append()
            self._fold(await self._follower.next())
        return GANGS / (max(self._started) - min(self._started)).total_seconds()

    def _answer(self, recorded: Recorded) -> None:
        writer = recorded.envelope.writer
        self._last[writer] = max(recorded.seq, self._last.get(writer, 0))  # it comes after what was said since
        match recorded.event:
            case GPUAllocated() as event:
                self._started.append(recorded.envelope.time)
                self.say(*_exits(event))
            case GPUReleased() as event:
                self.say(_closed(event))
            case _:
                pass

    async def _append(self) -> None:
        while self._to_say:
            batch, self._to_say = self._to_say[: log.MAX_BATCH], self._to_say[log.MAX_BATCH :]
            envelopes = [
                envelope_of(event, writer=_writer(event), actor="benchmark", correlation="benchmark") for event in batch
            ]
            first = envelopes[0].writer
            seq = await log.append(
                self._client, envelopes, expected=self._last.get(first, 0), scope=subjects.writer_subject(first)
            )
            for number, envelope in enumerate(envelopes):
                self._last[envelope.writer] = seq - len(envelopes) + 1 + number


def _writer(event: Event) -> str:
    return event.rightful_writer


def _joined(number: int) -> AgentJoined:
    return AgentJoined(
        agent_id=AgentId(f"agent{number}"),
        incarnation="one",
        pool_id=POOL,
        address=f"10.0.0.{number}",
        slots=tuple(Slot(number=slot, kind=SlotKind.CUDA, name="stub") for slot in range(SLOTS)),
    )


def _submitted(experiment_id: ExperimentId) -> ExperimentSubmitted:
    return ExperimentSubmitted(experiment_id=experiment_id, name="bench", config={}, code_sha256="", code_bytes=0)


def _requested(experiment_id: ExperimentId, index: int) -> TrialRequested:
    return TrialRequested(
        experiment_id=experiment_id,
        trial_id=trial_id(experiment_id, index),
        index=index,
        hyperparameters={"x": 0.5},
        seed=index,
        slots=SIZES[index % len(SIZES)],
        pool_id=POOL,
        origin="benchmark",
    )


def _exits(gang: GPUAllocated) -> list[Event]:
    chief, *others = gang.members
    trial, experiment, allocation, epoch = gang.trial_id, gang.experiment_id, gang.allocation_id, gang.epoch
    members: list[Event] = [
        GangMemberExited(
            trial_id=trial, experiment_id=experiment, allocation_id=allocation, epoch=epoch,
            agent_id=member.agent_id, outcome=Outcome.COMPLETED, exit_code=0, error=None,
        )
        for member in others
    ]  # fmt: skip
    exited = TrialExited(
        trial_id=trial, experiment_id=experiment, allocation_id=allocation, epoch=epoch,
        agent_id=chief.agent_id, outcome=Outcome.COMPLETED, exit_code=0, error=None,
    )  # fmt: skip
    return [*members, exited]


def _closed(released: GPUReleased) -> TrialClosed:
    experiment_id = ExperimentId(released.trial_id.rsplit("-", 1)[0])
    return TrialClosed(
        experiment_id=experiment_id,
        trial_id=released.trial_id,
        end=TrialEnd.COMPLETED,
        reason="",
        metric=None,
        step=None,
    )
