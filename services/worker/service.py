"""The agent's shell: joins, follows the log, tells gangs what they must know, leaves."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from nats.aio.client import Client

from services.worker import health, instruments, launch, nvml, unfinished, workspace
from services.worker.decide import Order, Start, decide, settled
from services.worker.facilities import Facilities
from services.worker.gang import Gang
from services.worker.health import Fault, Reading
from services.worker.logs import Logs
from services.worker.memory import SNAPSHOT_EVENTS, Memory
from services.worker.metrics import Metrics
from services.worker.outbox import Outbox
from services.worker.parent import Parent
from services.worker.settings import Settings
from services.worker.slots import discover
from services.worker.state import Standing, State, evolve
from services.worker.telemetry import Machine
from services.worker.workspace import Workspace
from services.worker.zygote import TRAINING_MODULES
from shared import broker, ids, log, runtime, subjects
from shared.decisions import Fold
from shared.events import AgentJoined, AgentLeaving, AgentLeft, Event, Slot, SlotKind, SlotRecovered, SlotUnhealthy
from shared.exposition import Exposition
from shared.ids import AllocationId
from shared.instruments import SET_ASIDE
from shared.log import Follower
from shared.objectstore import ObjectStore
from shared.pace import Pace

HEALTH_S = 5.0  # between two looks at the GPUs
FAREWELL_S = 15.0  # for storing what trials have written when they had to stop, and for saying that we are gone

#: What the parent on a GPU machine imports, unless TM_WARM_GPUS: enough to host rendezvous stores.
STORE_MODULES = ("torch.distributed",)

_log = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Run an agent until it is cancelled."""
    slots = discover(settings.slots)
    lock_fd = await asyncio.to_thread(workspace.lock, settings.work_directory)
    writer = subjects.agent_writer(settings.agent_id)
    async with broker.connect(settings.nats_url, writer) as client:
        forks = slots[0].kind is SlotKind.CPU or settings.forks_on_gpus
        modules = TRAINING_MODULES if forks else STORE_MODULES
        facilities = make_facilities(client, settings, slots, lock_fd, modules)
        await Agent(client, settings, slots, facilities, nvml.Health(slots).read).run()


class Agent:
    """One agent process; an incarnation after the other if it is declared lost in between."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        slots: tuple[Slot, ...],
        facilities: Facilities,
        read_health: Callable[[], Mapping[int, Reading]],
    ) -> None:
        """`read_health` asks the driver how the GPUs of the slots are; it may block."""
        self._client = client
        self._read_health = read_health
        self._settings = settings
        self._slots = slots
        self._facilities = facilities
        self._state = State(agent_id=settings.agent_id, incarnation=ids.new_incarnation())
        self._succeeds = workspace.last_incarnation(settings.work_directory)
        self._reconnects = client.stats["reconnects"]
        self._is_rival = False
        self._fold = Fold(lambda recorded: evolve(self._state, recorded))
        self._follower = Follower(client, subjects.EVENTS)
        self._tasks = asyncio.TaskGroup()
        self._has_failed = False
        self._is_leaving = False
        self._machine = Machine(settings.work_directory)
        self._gangs: dict[AllocationId, Gang] = {}
        self._told: dict[AllocationId, set[Order]] = {}
        self._has_caught_up = asyncio.Event()
        self._no_gangs = asyncio.Event()
        self._no_gangs.set()

    async def run(self) -> None:
        """Serve until cancelled; then leave in good order."""
        facilities = self._facilities
        async with self._tasks:
            self._begin(facilities.outbox.run(), "outbox")
            self._begin(facilities.logs.run(), "logs")
            self._begin(facilities.metrics.run(), "metrics")
            positions = {subjects.EVENTS: lambda: self._fold.position}
            self._begin(Exposition(self._client, "worker", positions, self._observe).run(), "show metrics")
            await unfinished.finish(
                self._client,
                facilities.store,
                facilities.outbox,
                self._settings.work_directory,
                subjects.agent_writer(self._settings.agent_id),
            )
            await self._join()
            health = subjects.health_subject("worker", self._settings.agent_id)
            self._begin(runtime.beat(self._client, health, self._facts), "heartbeat")
            self._begin(self._follow(), "follow")
            self._begin(self._watch_health(), "watch the GPUs")
            self._begin(facilities.parent.run(), "warm parent")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self._has_failed:
                    await self._leave()
                raise

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._tasks.create_task(work, name=name)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            self._has_failed = True

    async def _join(self) -> None:
        state, settings = self._state, self._settings
        event = AgentJoined(
            agent_id=settings.agent_id,
            incarnation=state.incarnation,
            pool_id=settings.pool_id,
            address=settings.address,
            slots=self._slots,
            labels=dict(settings.labels),
            zero_slot_limit=settings.zero_slot_limit,
            succeeds=self._succeeds,
        )
        await self._say(event)
        await asyncio.to_thread(workspace.note_incarnation, settings.work_directory, state.incarnation)
        _log.info("joined", extra={"incarnation": state.incarnation, "slots": len(self._slots)})

    async def _follow(self) -> None:
        stream = await log.stream_identity(self._client, subjects.EVENTS)
        memory = Memory(self._settings.work_directory, stream)
        self._fold.position = memory.restore(self._state)
        self._follower = Follower(self._client, subjects.EVENTS, after=self._fold.position)
        try:
            while True:
                self._fold(await self._follower.next())
                memory.save(self._state, self._fold.position, after=SNAPSHOT_EVENTS)
                if self._follower.at_head:
                    self._has_caught_up.set()
                    await self._look()
        except asyncio.CancelledError:  # not after a failure: it may have left half of an event folded
            memory.save(self._state, self._fold.position)
            raise

    async def _watch_health(self) -> None:
        """Tell the log when a GPU becomes unfit for work, and when it is fit again."""
        await self._has_caught_up.wait()
        while True:
            readings = await asyncio.to_thread(self._read_health)
            for slot, fault in health.news(readings, self._state.faults, self._state.excused).items():
                _log.warning("a slot's health has changed", extra={"slot": slot, "fault": repr(fault)})
                await self._say(self._health_event(slot, fault))
            await asyncio.sleep(HEALTH_S)

    def _health_event(self, slot: int, fault: Fault | None) -> SlotUnhealthy | SlotRecovered:
        agent_id, incarnation = self._settings.agent_id, self._state.incarnation
        if fault is None:
            return SlotRecovered(agent_id=agent_id, incarnation=incarnation, slot=slot)
        return SlotUnhealthy(
            agent_id=agent_id, incarnation=incarnation, slot=slot, fault=fault.kind, detail=fault.detail
        )

    async def _look(self) -> None:
        """Tell gangs what they must know now, and see to our standing."""
        for allocation_id in [known for known in self._told if known not in self._gangs]:
            if allocation_id not in self._state.allocations:
                del self._told[allocation_id]
        for allocation_id, order in settled(self._state, self._told):
            self._told[allocation_id].discard(order)
        for allocation_id, order in decide(self._state, self._told):
            self._tell(allocation_id, order)
        if self._state.standing is Standing.REPLACED:
            raise RuntimeError(f"another process has joined as agent {self._settings.agent_id}; this one ends")
        if self._state.standing is Standing.REFUSED:
            raise RuntimeError(f"refused by the scheduler: {self._state.refusal}")
        await self._come_back()
        if self._state.standing is Standing.LOST and not self._gangs and not self._is_leaving:
            _log.warning("declared lost; joining again")
            self._succeeds = self._state.incarnation
            self._state.rejoin(ids.new_incarnation())
            await self._join()

    async def _come_back(self) -> None:
        """Say again what is offered when it has changed while the connection was broken, or the name is free now."""
        if self._state.standing is Standing.JOINING and self._state.present is None and self._is_rival:
            self._is_rival = False
            await self._join()
        self._is_rival = self._is_rival or self._state.standing is Standing.RIVAL
        if self._reconnects != self._client.stats["reconnects"]:
            self._reconnects = self._client.stats["reconnects"]
            slots = await asyncio.to_thread(discover, self._settings.slots)
            if slots != self._slots and self._state.standing is Standing.JOINED:
                _log.warning("came back with other slots", extra={"slots": len(slots), "before": len(self._slots)})
                self._slots = slots
                self._facilities.slots.clear()
                self._facilities.slots.update({slot.number: slot for slot in slots})
                await self._join()

    def _tell(self, allocation_id: AllocationId, order: Order) -> None:
        if isinstance(order, Start):
            if self._is_leaving:
                return
            gang = Gang(self._facilities, self._state.allocations[allocation_id])
            self._gangs[allocation_id] = gang
            self._no_gangs.clear()
            task = self._begin(gang.run(), f"allocation {allocation_id}")
            task.add_done_callback(lambda _: self._forget(allocation_id))
            _log.info("allocation started", extra={"allocation_id": allocation_id})
        elif gang_ := self._gangs.get(allocation_id):
            gang_.tell(order)
        self._told.setdefault(allocation_id, set()).add(order)

    def _forget(self, allocation_id: AllocationId) -> None:
        del self._gangs[allocation_id]
        _log.info("allocation ended", extra={"allocation_id": allocation_id})
        if not self._gangs:
            self._no_gangs.set()
        self._follower.poke()

    async def _leave(self) -> None:
        """Let the trials checkpoint and end, and say that we are gone."""
        self._is_leaving = True
        try:
            async with asyncio.timeout(self._settings.stop_grace_s + FAREWELL_S):
                incarnation = self._state.incarnation
                if self._gangs:
                    seq = await self._say(AgentLeaving(agent_id=self._settings.agent_id, incarnation=incarnation))
                    for gang in self._gangs.values():
                        gang.leave(self._settings.stop_grace_s, seq)
                await self._no_gangs.wait()
                reason = "it was stopped"
                await self._say(AgentLeft(agent_id=self._settings.agent_id, incarnation=incarnation, reason=reason))
        except TimeoutError:
            _log.error("did not leave in good order in time", extra={"num_gangs": len(self._gangs)})

    def _observe(self) -> None:
        facilities, allocations = self._facilities, self._state.allocations
        SET_ASIDE.set(self._fold.num_undecodable)
        instruments.SLOTS.set(len(self._slots))
        members = [member for id_ in self._gangs if id_ in allocations for member in allocations[id_].members]
        own = [member for member in members if member.agent_id == self._settings.agent_id]
        instruments.IN_USE.set(sum(len(member.slots) for member in own))
        instruments.GANGS.set(len(self._gangs))
        instruments.IS_WARM.set(facilities.parent.is_warm)
        instruments.OUTBOX.set(facilities.outbox.num_waiting)
        instruments.LOG_BYTES.set(facilities.logs.waiting_bytes)

    async def _say(self, event: Event) -> int:
        """Append an event about this agent, wait until it is on the log, and return its sequence."""
        return await self._facilities.outbox.append(event, causes=(), correlation=self._settings.agent_id)

    def _facts(self) -> dict[str, Any]:
        return {
            "incarnation": self._state.incarnation,
            "position": self._fold.position,
            "num_unknown": self._fold.num_unknown,
            "num_undecodable": self._fold.num_undecodable,
            "warm": self._facilities.parent.is_warm,
            "machine": self._machine.read(),
        }


def make_facilities(
    client: Client, settings: Settings, slots: tuple[Slot, ...], lock_fd: int, modules: Sequence[str]
) -> Facilities:
    """Make what all gangs share; `modules` is what the warm parent imports."""
    base_environment = launch.base_environment(os.environ, settings.work_directory)
    environment = launch.parent_environment(base_environment, slots[0].kind)
    limit = settings.upload_bytes_per_s
    store = ObjectStore(settings.s3, None if limit is None else Pace(limit))
    return Facilities(
        agent_id=settings.agent_id,
        address=settings.address,
        slots={slot.number: slot for slot in slots},
        base_environment=base_environment,
        outbox=Outbox(client, subjects.agent_writer(settings.agent_id)),
        parent=Parent(modules, environment=environment, inherited_fds=(lock_fd,)),
        logs=Logs(client, settings.agent_id),
        metrics=Metrics(client, settings.agent_id),
        store=store,
        workspace=Workspace(settings.work_directory, store),
        forks_on_gpus=settings.forks_on_gpus,
    )
