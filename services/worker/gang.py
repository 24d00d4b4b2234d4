"""One allocation on this agent, to its last event.

    prepare ──► run ranks ──► read what they still said, store what they still wrote ──► report
       └── a stop or a kill at any point leads straight to the report; a void allocation reports nothing

The chief (the first member) opens the rendezvous and reports for the gang, after all other agents' ranks have ended:
TrialStarted … and at the end TrialExited or TrialPreempted. The others report GangMemberExited.
"""

import asyncio
import contextlib

from services.worker.allocation import Allocation, Rendezvous
from services.worker.control import Control
from services.worker.decide import Kill, KillReason, Order, Stop
from services.worker.endings import Ending, gang_ending
from services.worker.facilities import Facilities
from services.worker.failures import ending_after
from services.worker.rendezvous import ANY_PORT, RendezvousHost, wait_for_chief_to_end
from services.worker.share import Share
from services.worker.unfinished import Notes
from services.worker.uploads import Uploads
from shared import tracing
from shared.broker import raise_if_cancelled
from shared.events import Event, GangMemberExited, Outcome, RendezvousOpened, TrialExited, TrialPreempted
from shared.tracing import Kind

LOG_DRAIN_S = 15.0
LEAVING = "this agent is leaving"
MAX_ERROR_CHARS = 16 * 1024  # of what an event tells


class Gang:
    """Runs this agent's part of an allocation."""

    def __init__(self, facilities: Facilities, allocation: Allocation) -> None:
        self._facilities = facilities
        self._allocation = allocation
        self._is_chief = allocation.chief == facilities.agent_id
        self._uploads = Uploads(
            allocation,
            agent_id=facilities.agent_id,
            store=facilities.store,
            outbox=facilities.outbox,
            notes=Notes(facilities.workspace.path_of(allocation.allocation_id)),
        )
        self._control = Control(self._uploads.add_shard, self._uploads.add_completed)
        self._spoken = allocation.spoken_by(facilities.agent_id)
        self._host: RendezvousHost | None = None
        self._has_said_opened = False
        self._share: Share | None = None

    def tell(self, order: Order) -> None:
        """Take an order."""
        self._control.tell(order)

    def leave(self, timeout_s: float, seq: int) -> None:
        """End because the agent ends, as event `seq` says. For the same reason the scheduler asks a gang's other agents
        to stop."""
        self._control.tell(Stop(reason=LEAVING, timeout_s=timeout_s, seq=seq))

    async def run(self) -> None:
        """Run to the last event. What goes wrong on the way ends this trial, not the agent."""
        allocation = self._allocation
        about = {"trial": allocation.trial_id, "allocation": allocation.allocation_id}
        with tracing.span("run a trial", allocation.traceparent, Kind.CONSUMER, about):
            await self._run()

    async def _run(self) -> None:
        try:
            ending = await self._attempt()
            if self._host and ending.outcome is not Outcome.COMPLETED:
                self._host.close()
            if self._is_chief:
                ending = await self._conclude(ending)
            if not self._control.is_void:
                await self._report(ending)
        finally:
            if self._host:
                self._host.close()

    async def _attempt(self) -> Ending:
        """Run this agent's ranks and return how they ended."""
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch_chief(), name="watch the chief")
                self._share = Share(self._facilities, self._allocation, self._control, self._uploads)
                if self._is_chief and self._allocation.world_size > 1:
                    self._host = RendezvousHost(self._facilities.address)
                    await self._say_opened(self._host.rendezvous)
                ending = await self._share.run(self._host)
                watching.cancel()
        except Exception as error:  # noqa: BLE001 # the other trials on this agent have nothing to do with it
            raise_if_cancelled()
            return ending_after(error, self._allocation.allocation_id)
        return ending

    async def _say_opened(self, place: Rendezvous) -> None:
        self._has_said_opened = True
        if len(self._allocation.members) > 1:
            event = RendezvousOpened(**self._spoken, address=place.address, port=place.port)
            await self._put(event, (self._allocation.seq,))

    async def _watch_chief(self) -> None:
        await wait_for_chief_to_end(await asyncio.shield(self._control.rendezvous))
        self._control.tell(Kill(reason=KillReason.CHIEF_GONE))

    async def _conclude(self, local: Ending) -> Ending:
        """Wait for the other agents' ranks and return how the gang ended."""
        others = {member.agent_id for member in self._allocation.members[1:]}
        if others and not self._has_said_opened and not self._control.is_void:
            # They wait for us: where nobody listens they find that we are gone.
            await self._say_opened(Rendezvous(address=self._facilities.address, port=ANY_PORT))
        while not self._control.is_void and not others <= self._control.members.keys():
            self._control.changed.clear()
            await self._control.changed.wait()
        return gang_ending(local, list(self._control.members.values()))

    async def _report(self, ending: Ending) -> None:
        began = self._allocation.seq
        if share := self._share:
            if ending.error:  # of a rank that failed the rest is its own output
                share.log.say(ending.error if ending.exit_code is None else ending.error.partition("\n")[0])
            with contextlib.suppress(TimeoutError):  # the broker is away: the lines stay queued, and so will the event
                async with asyncio.timeout(LOG_DRAIN_S):
                    await share.drain_logs()
            began = share.started.result() if share.started.done() else began
        ended = [self._control.cause, *(member.seq for member in self._control.members.values())]
        await self._put(self._last_event(ending), (began, *(seq for seq in ended if seq is not None)))

    def _last_event(self, ending: Ending) -> Event:
        if self._is_chief and ending.outcome is Outcome.PREEMPTED:
            return TrialPreempted(**self._spoken, step=ending.step)
        error = ending.error and ending.error[:MAX_ERROR_CHARS].encode(errors="replace").decode()
        if self._is_chief:
            return TrialExited(
                **self._spoken,
                outcome=ending.outcome,
                exit_code=ending.exit_code,
                error=error,
                rank=ending.rank,
                failed_agent_id=ending.agent_id,
                cause=ending.cause,
            )
        return GangMemberExited(
            **self._spoken,
            outcome=ending.outcome,
            exit_code=ending.exit_code,
            error=error,
            rank=ending.rank,
            cause=ending.cause,
        )

    async def _put(self, event: Event, causes: tuple[int, ...]) -> None:
        """Append and wait until it is on the log."""
        await self._facilities.outbox.append(
            event,
            causes=tuple(sorted(set(causes))),
            correlation=self._allocation.experiment_id,
        )
