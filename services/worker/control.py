"""What one gang has been told so far, for its coroutines to wait on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from services.worker.allocation import MemberExit, Rendezvous, Shard
from services.worker.decide import Kill, KillReason, Order, Start, Stop
from services.worker.endings import Fault
from shared.events import FailureCause, Outcome
from shared.ids import AgentId

OTHERS_STOPPED = "the ranks on another agent were asked to stop, and have"
OTHERS_STOPPED_S = 15.0  # for ours to write a checkpoint and stop: as long as an agent that leaves gives them

T = TypeVar("T")


class Control:
    """Takes orders. `on_shard` is called with other agents' parts of checkpoints, `on_completed` when their ranks are
    done."""

    def __init__(self, on_shard: Callable[[Shard], None], on_completed: Callable[[AgentId], None]) -> None:
        loop = asyncio.get_running_loop()
        self._on_shard = on_shard
        self._on_completed = on_completed
        self._scope: asyncio.Timeout | None = None
        self._yields_to_stop = self._yields_to_kill = False
        self.stop: asyncio.Future[Stop] = loop.create_future()
        self.kill: asyncio.Future[Kill] = loop.create_future()
        self.fault: asyncio.Future[Fault] = loop.create_future()
        self.rendezvous: asyncio.Future[Rendezvous] = loop.create_future()
        self.members: dict[AgentId, MemberExit] = {}
        self.changed = asyncio.Event()
        self.is_void = False
        self._is_overdue = False

    def tell(self, order: Order) -> None:
        """Take an order. The first stop and the first kill count; a void allocation overrides everything."""
        match order:
            case Start():
                pass
            case Rendezvous():
                _settle(self.rendezvous, order)
            case Stop():
                _settle(self.stop, order)
                self._interrupt()
            case Kill():
                self._kill(order)
            case MemberExit():
                self._note(order)
            case Shard():
                self._on_shard(order)

    def fail(self, error: str, cause: FailureCause | None = None) -> None:
        """End the trial for a mistake of its own."""
        _settle(self.fault, Fault(error=error, cause=cause))

    def expire(self) -> None:
        """All the time is over that a stop leaves the ranks, and us to store what they wrote."""
        self._is_overdue = True
        self._interrupt()

    @property
    def kill_reason(self) -> KillReason | None:
        """Why the ranks were killed, if they were."""
        return self.kill.result().reason if self.kill.done() else None

    @property
    def cause(self) -> int | None:
        """The sequence of the event that ended the gang early, if one did."""
        requests = [order.result().seq for order in (self.stop, self.kill) if order.done()]
        return next((seq for seq in requests if seq is not None), None)

    @contextlib.asynccontextmanager
    async def interruptible(
        self, *, by_stop: bool = False, by_kill: bool = False, timeout_s: float | None = None
    ) -> AsyncIterator[None]:
        """Run the body until the allocation is void, or a stop has expired, ends it: TimeoutError then.

        So do a stop, a kill and the timeout, where they are asked for.
        """
        self._yields_to_stop, self._yields_to_kill = by_stop, by_kill
        try:
            async with asyncio.timeout(timeout_s) as self._scope:
                self._interrupt()
                yield
        finally:
            self._scope = None

    def _interrupt(self) -> None:
        stopped = self.stop.done() and self._yields_to_stop
        killed = self.kill.done() and (self._yields_to_kill or self.is_void)
        # One whose time is over cannot be told again, while what it ends is still putting its things in order.
        if self._scope and not self._scope.expired() and (stopped or killed or self._is_overdue):
            self._scope.reschedule(0)

    def _kill(self, order: Kill) -> None:
        self.is_void = self.is_void or order.reason is KillReason.VOID
        if self.is_void and self.kill.done():
            self.kill = asyncio.get_running_loop().create_future()
        _settle(self.kill, order)
        self._interrupt()
        self.changed.set()

    def _note(self, ended: MemberExit) -> None:
        """An agent's ranks ended: unless they completed, or we are stopping anyway, ours cannot go on.

        Ranks that were asked to stop, because their agent is leaving, may have done so before we are asked.
        """
        self.members[ended.agent_id] = ended
        self.changed.set()
        if ended.outcome is None:
            self._kill(Kill(reason=KillReason.AGENT_LOST, seq=ended.seq))
        elif ended.outcome is Outcome.COMPLETED:
            self._on_completed(ended.agent_id)
        elif ended.outcome is Outcome.PREEMPTED:
            self.tell(Stop(reason=OTHERS_STOPPED, timeout_s=OTHERS_STOPPED_S, seq=ended.seq))
        elif not self.stop.done():
            self._kill(Kill(reason=KillReason.MEMBER_ENDED, seq=ended.seq))


def _settle(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)
