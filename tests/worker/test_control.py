"""Orders to a gang, whenever they come."""

import asyncio

import pytest

from services.worker.control import Control
from services.worker.decide import Kill, KillReason, Stop

STOP = Stop(reason="paused", timeout_s=1.0, seq=1)
VOID = Kill(reason=KillReason.VOID)


class Wait:
    """What an order may interrupt, and takes its time to put its things in order then."""

    def __init__(self, control: Control, timeout_s: float | None = None) -> None:
        self._control = control
        self._timeout_s = timeout_s
        self.began, self.unwinds, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        async with self._control.interruptible(by_stop=True, by_kill=True, timeout_s=self._timeout_s):
            try:
                self.began.set()
                await asyncio.Event().wait()
            finally:
                self.unwinds.set()
                await self.may_end.wait()


@pytest.mark.parametrize("order", [STOP, VOID])
@pytest.mark.parametrize("timeout_s", [None, 0.0])
async def test_an_order_may_come_while_what_was_interrupted_still_ends(
    timeout_s: float | None, order: Stop | Kill
) -> None:
    control = Control(on_shard=lambda _: None, on_completed=lambda _: None)
    wait = Wait(control, timeout_s)
    running = asyncio.create_task(wait.run())
    await wait.began.wait()
    if timeout_s is None:
        control.tell(STOP)
    await wait.unwinds.wait()
    control.tell(order)
    control.expire()
    wait.may_end.set()
    with pytest.raises(TimeoutError):
        await running
