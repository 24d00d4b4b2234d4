"""One allocation on this agent, to its last event.

    prepare ──► run ranks ──► read what they still said, store what they still wrote ──► report
       └── a stop or a kill at any point leads straight to the report; a void allocation reports nothing

The chief (the first member) opens the rendezvous and reports for the gang, after all other agents' ranks have ended:
TrialStarted … and at the end TrialExited or TrialPreempted. The others report GangMemberExited.
"""

import asyncio
import contextlib

from services.worker.control import Control
from services.worker.decide import Kill, KillReason, Order, Stop
from services.worker.endings import Ending, gang_ending
from services.worker.facilities import Facilities
from services.worker.rendezvous import RendezvousHost, wait_for_chief_to_end
from services.worker.share import Share
from services.worker.state import Allocation
from services.worker.uploads import Uploads
from shared.events import Event, GangMemberExited, Outcome, RendezvousOpened, TrialExited, TrialPreempted

LOG_DRAIN_S = 15.0


class Gang:
    """Runs this agent's part of an allocation."""

    def __init__(self, facilities: Facilities, allocation: Allocation) -> None:
        self._facilities = facilities
        self._allocation = allocation
        self._is_chief = allocation.chief == facilities.agent_id
        self._uploads = Uploads(
            allocation, agent_id=facilities.agent_id, store=facilities.store, outbox=facilities.outbox
        )
        self._control = Control(self._uploads.add_shard)
        self._spoken = allocation.spoken_by(facilities.agent_id)

    def tell(self, order: Order) -> None:
        """Take an order."""
        self._control.tell(order)

    def leave(self, timeout_s: float) -> None:
        """End because the agent ends. Ranks of a gang over several agents cannot agree on a step: they are killed."""
        if len(self._allocation.members) > 1:
            self._control.tell(Kill(reason=KillReason.LEAVING))
        else:
            self._control.tell(Stop(reason=KillReason.LEAVING, timeout_s=timeout_s, seq=None))

    async def run(self) -> None:
        """Run to the last event."""
        async with asyncio.TaskGroup() as tasks, contextlib.AsyncExitStack() as stack:
            watching = tasks.create_task(self._watch_chief(), name="watch the chief")
            host: RendezvousHost | None = None
            if self._is_chief and self._allocation.world_size > 1:
                host = stack.enter_context(contextlib.closing(RendezvousHost(self._facilities.address)))
                await self._say_opened(host)
            share = Share(self._facilities, self._allocation, self._control, self._uploads, host)
            ending = await share.run()
            watching.cancel()
            if host and ending.outcome is not Outcome.COMPLETED:
                host.close()
            if self._is_chief:
                ending = await self._conclude(ending)
            if not self._control.is_void:
                await self._report(ending, share)

    async def _say_opened(self, host: RendezvousHost) -> None:
        if len(self._allocation.members) > 1:
            place = host.rendezvous
            event = RendezvousOpened(**self._spoken, address=place.address, port=place.port)
            await self._put(event, (self._allocation.seq,))

    async def _watch_chief(self) -> None:
        await wait_for_chief_to_end(await asyncio.shield(self._control.rendezvous))
        self._control.tell(Kill(reason=KillReason.CHIEF_GONE))

    async def _conclude(self, local: Ending) -> Ending:
        """Wait for the other agents' ranks and return how the gang ended."""
        others = {member.agent_id for member in self._allocation.members[1:]}
        while not self._control.is_void and not others <= self._control.members.keys():
            self._control.changed.clear()
            await self._control.changed.wait()
        return gang_ending(local, list(self._control.members.values()))

    async def _report(self, ending: Ending, share: Share) -> None:
        if ending.error:
            share.log.say(ending.error.partition("\n")[0])  # the rest is the rank's own output
        with contextlib.suppress(TimeoutError):  # the broker is away: the lines stay queued, and so will the event
            async with asyncio.timeout(LOG_DRAIN_S):
                await share.drain_logs()
        began = share.started.result() if share.started.done() else self._allocation.seq
        ended = [self._control.cause, *(member.seq for member in self._control.members.values())]
        await self._put(self._last_event(ending), (began, *(seq for seq in ended if seq is not None)))

    def _last_event(self, ending: Ending) -> Event:
        if self._is_chief and ending.outcome is Outcome.PREEMPTED:
            return TrialPreempted(**self._spoken, step=ending.step)
        last = TrialExited if self._is_chief else GangMemberExited
        return last(**self._spoken, outcome=ending.outcome, exit_code=ending.exit_code, error=ending.error)

    async def _put(self, event: Event, causes: tuple[int, ...]) -> None:
        """Append and wait until it is on the log."""
        await self._facilities.outbox.append(
            event,
            causes=tuple(sorted(set(causes))),
            correlation=self._allocation.experiment_id,
        )
