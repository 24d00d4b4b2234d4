"""A log, an object store and agents, with the gateway, the searcher and the scheduler played by hand."""

import asyncio
import contextlib
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from nats.aio.client import Client

from services.worker import workspace
from services.worker.health import Reading
from services.worker.service import Agent, make_facilities
from services.worker.settings import Settings
from shared import archive, broker, ids, objectstore, subjects
from shared import volume as messages
from shared.config import parse_experiment
from shared.decisions import Fold
from shared.events import (
    AgentJoined,
    Event,
    ExperimentSubmitted,
    GangMember,
    GPUAllocated,
    GPUReleased,
    PreemptionReason,
    PreemptionRequested,
    ReleaseReason,
    Slot,
    SlotKind,
    TrialRequested,
)
from shared.ids import AgentId, AllocationId, ExperimentId, PoolId, TrialId
from shared.log import Follower, Message, Recorded, append, envelope_of
from shared.objectstore import ObjectStore
from shared.settings import S3Settings
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.servers import PASSWORD, NatsServer

EXPERIMENT = ExperimentId("exp")
POOL = PoolId("default")
AGENT = AgentId("a1")
STREAMS = (subjects.EVENTS, subjects.LOGS, subjects.METRICS)

E = TypeVar("E", bound=Event)


class Cluster:
    """Everything but the agents' own code is played by this."""

    def __init__(self, client: Client, nats: NatsServer, s3: S3Settings, directory: Path) -> None:
        self.client = client
        self.nats = nats
        self.s3 = s3
        self.store = ObjectStore(s3)
        self.directory = directory
        self.recorded: list[Recorded] = []
        self.lines: list[tuple[int, str, str]] = []  # rank, stream, text
        self._batches: list[messages.MetricBatch] = []
        self._read = dict.fromkeys(STREAMS, 0)  # up to which sequence
        self._expected: dict[tuple[str, str], int] = {}
        self._epoch = 0

    @property
    def points(self) -> list[messages.MetricPoint]:
        """All training metrics so far."""
        return [point for batch in self.batches("training") for point in batch.points]

    def batches(self, group: str) -> list[messages.MetricBatch]:
        """All metrics of a group so far."""
        return [batch for batch in self._batches if batch.group == group]

    async def follow_events(self) -> None:
        """Collect what is on the log."""
        follower = Follower(self.client, subjects.EVENTS)
        fold = Fold(self.recorded.append)
        while True:
            read = await follower.next()
            fold(read)
            self._note_read(subjects.EVENTS, read)

    async def follow_volume(self, stream: str) -> None:
        """Collect log lines or metric points."""
        follower = Follower(self.client, stream)
        while True:
            read = await follower.next()
            for message in read:
                if stream == subjects.LOGS:
                    batch = messages.decode_logs(message.body)
                    self.lines += [(batch.rank, line.stream, line.text) for line in batch.lines]
                else:
                    self._batches.append(messages.decode_metrics(message.body))
            self._note_read(stream, read)

    async def caught_up(self) -> None:
        """Wait until all that the streams hold by now has been read; an event may be before lines stored earlier."""
        for stream in STREAMS:
            stored = (await self.client.jetstream().stream_info(stream)).state.last_seq
            await eventually(lambda stream=stream, stored=stored: self._read[stream] >= stored)  # type: ignore[misc]

    def _note_read(self, stream: str, messages_read: Sequence[Message]) -> None:
        if messages_read:
            self._read[stream] = messages_read[-1].seq

    async def say(self, writer: str, event: Event) -> int:
        """Append an event as one of the services."""
        key = (writer, event.aggregate_id)
        envelope = envelope_of(event, writer=writer, actor=writer, correlation=EXPERIMENT)
        self._expected[key] = await append(self.client, [envelope], expected=self._expected.get(key, 0))
        return self._expected[key]

    async def submit(
        self,
        files: dict[str, str],
        *,
        slots: int = 1,
        entrypoint: str = "python main.py",
        more: str = "",
        store_code: bool = True,
        max_batches: int = 10,
        hyperparameters: Mapping[str, Any] = MappingProxyType({"lr": 0.1}),
        resources: str = "",
    ) -> None:
        """Submit an experiment of one trial with the given code."""
        code = self.directory / "code"
        for name, text in files.items():
            path = code / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        body = archive.pack(code)
        sha256 = hashlib.sha256(body).hexdigest()
        if store_code:
            await self.store.put(objectstore.code_key(sha256), body)
        config = parse_experiment(
            f"entrypoint: {entrypoint}\n"
            f"searcher: {{name: single, metric: loss, max_length: {{batches: {max_batches}}}}}\n"
            f"resources: {{{resources or f'slots_per_trial: {slots}'}}}\nhyperparameters: {{lr: 0.1}}\n{more}"
        ).model_dump(mode="json")
        await self.say(
            "gateway",
            ExperimentSubmitted(
                experiment_id=EXPERIMENT, name="test", config=config, code_sha256=sha256, code_bytes=len(body)
            ),
        )
        await self.say(
            "searcher",
            TrialRequested(
                experiment_id=EXPERIMENT,
                trial_id=ids.trial_id(EXPERIMENT, 1),
                index=1,
                hyperparameters=dict(hyperparameters),
                seed=7,
                slots=slots,
                pool_id=POOL,
                origin="single",
            ),
        )

    async def allocate(self, *shares: tuple[AgentId, tuple[int, ...]]) -> AllocationId:
        """Give the trial a gang; the newest incarnations of the agents."""
        self._epoch += 1
        trial_id = ids.trial_id(EXPERIMENT, 1)
        allocation_id = ids.allocation_id(trial_id, self._epoch)
        members = [
            GangMember(agent_id=agent, incarnation=(await self.joined(agent)).incarnation, slots=slots)
            for agent, slots in shares or ((AGENT, (0,)),)
        ]
        await self.say(
            "scheduler",
            GPUAllocated(
                pool_id=POOL,
                allocation_id=allocation_id,
                trial_id=trial_id,
                experiment_id=EXPERIMENT,
                epoch=self._epoch,
                members=tuple(members),
            ),
        )
        return allocation_id

    async def preempt(
        self, allocation_id: AllocationId, *, reason: PreemptionReason = PreemptionReason.PAUSED, timeout_s: float = 20
    ) -> None:
        """Ask an allocation to stop."""
        await self.say(
            "scheduler",
            PreemptionRequested(
                pool_id=POOL,
                allocation_id=allocation_id,
                trial_id=TrialId(allocation_id.rsplit("-", 1)[0]),
                reason=reason,
                timeout_s=timeout_s,
            ),
        )

    async def release(self, allocation_id: AllocationId) -> None:
        """Free an allocation's slots."""
        await self.say(
            "scheduler",
            GPUReleased(
                pool_id=POOL,
                allocation_id=allocation_id,
                trial_id=TrialId(allocation_id.rsplit("-", 1)[0]),
                epoch=self._epoch,
                reason=ReleaseReason.EXITED,
            ),
        )

    def events(self, kind: type[E]) -> list[E]:
        """All events of a type so far."""
        return [recorded.event for recorded in self.recorded if isinstance(recorded.event, kind)]

    def recorded_of(self, kind: type[Event]) -> Recorded:
        """The newest event of a type as it is on the log."""
        return [recorded for recorded in self.recorded if isinstance(recorded.event, kind)][-1]

    async def wait_for(self, kind: type[E], count: int = 1, timeout_s: float = PATIENCE_S) -> E:
        """Wait for the count-th event of a type and return it."""
        try:
            return (await eventually(lambda: self.events(kind)[count - 1 : count], timeout_s=timeout_s))[0]
        except AssertionError:
            names = [recorded.envelope.name for recorded in self.recorded]
            raise AssertionError(f"no {kind.__name__} after {names}; output: {self.lines}") from None

    async def wait_for_line(self, text: str, timeout_s: float = PATIENCE_S) -> tuple[int, str, str]:
        """Wait for a line of output that contains a text."""
        return (await eventually(lambda: [line for line in self.lines if text in line[2]], timeout_s=timeout_s))[0]

    async def joined(self, agent_id: AgentId) -> AgentJoined:
        """Wait until an agent has joined and return its newest joining."""
        await eventually(lambda: [event for event in self.events(AgentJoined) if event.agent_id == agent_id])
        return [event for event in self.events(AgentJoined) if event.agent_id == agent_id][-1]

    def settings(self, agent_id: AgentId = AGENT, slots: int = 2) -> Settings:
        """Return an agent's settings."""
        return Settings(
            nats_url=self.nats.url_as(subjects.agent_writer(agent_id)),
            s3=self.s3,
            agent_id=agent_id,
            pool_id=POOL,
            address="127.0.0.1",
            slots=f"cpu:{slots}",
            work_directory=self.directory / agent_id,
        )

    @contextlib.asynccontextmanager
    async def agent(
        self,
        agent_id: AgentId = AGENT,
        *,
        num_slots: int = 2,
        modules: Sequence[str] = (),
        read_health: Callable[[], dict[int, Reading]] | None = None,
        **changes: Any,
    ) -> AsyncIterator["asyncio.Task[None]"]:
        """Run an agent in this process for as long as the context lasts; it leaves in good order at the end.

        All that it has said has been read by then. `changes` are to its settings.
        """
        settings = replace(self.settings(agent_id, num_slots), **changes)
        read = read_health or dict
        slots = tuple(Slot(number=number, kind=SlotKind.CPU, name="test") for number in range(num_slots))
        lock_fd = workspace.lock(settings.work_directory)
        try:
            async with broker.connect(settings.nats_url, "test") as client:
                facilities = make_facilities(client, settings, slots, lock_fd, modules)
                running = asyncio.create_task(Agent(client, settings, slots, facilities, read).run())
                try:
                    yield running
                finally:
                    running.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await running
        finally:
            os.close(lock_fd)
        await self.caught_up()

    def light_agent(self) -> list[str]:
        """Return the command line of an agent process whose warm parent imports nothing."""
        program = [
            "import services.worker.service as s",
            "s.TRAINING_MODULES = ()",
            "import services.worker.__main__ as m",
        ]
        return [sys.executable, "-c", "; ".join([*program, "m.main()"])]

    def environment(self, agent_id: AgentId = AGENT, slots: int = 2) -> dict[str, str]:
        """Return the environment of an agent that runs as a process of its own."""
        settings = self.settings(agent_id, slots)
        return {
            **os.environ,
            "TM_NATS_URL": settings.nats_url,
            "TM_S3_ENDPOINT": self.s3.endpoint,
            "TM_S3_ACCESS_KEY": self.s3.access_key,
            "TM_S3_SECRET_KEY": self.s3.secret_key,
            "TM_S3_BUCKET": self.s3.bucket,
            "TM_AGENT_ID": agent_id,
            "TM_SLOTS": settings.slots,
            "TM_WORK_DIR": str(settings.work_directory),
        }


@contextlib.asynccontextmanager
async def cluster(nats: NatsServer, s3: S3Settings, directory: Path) -> AsyncIterator[Cluster]:
    """A cluster for as long as the context lasts."""
    async with broker.connect(nats.url, "test") as client:
        made = Cluster(client, nats, s3, directory)
        following = [
            asyncio.create_task(made.follow_events()),
            asyncio.create_task(made.follow_volume(subjects.LOGS)),
            asyncio.create_task(made.follow_volume(subjects.METRICS)),
        ]
        try:
            yield made
        finally:
            for task in following:
                task.cancel()
            await asyncio.wait(following)


__all__ = ["AGENT", "EXPERIMENT", "PASSWORD", "Cluster", "cluster"]
