"""Runs the platform until SIGTERM or Ctrl-C; a second one kills."""

import asyncio
import os
import signal
from collections.abc import Callable

from trainmaster.embedded.supervisor import Plan, running


async def serve(plan: Plan, on_ready: Callable[[str], None], on_stopping: Callable[[], None]) -> None:
    """Run the platform until a signal asks for its end. `on_ready` is given the URL."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)  # the kernel kills the children with us
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    work = loop.create_task(_until(plan, on_ready, on_stopping), name="platform")
    asked = loop.create_task(stop.wait(), name="signal")
    await asyncio.wait((work, asked), return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        work.cancel()  # also while it starts
    asked.cancel()
    try:
        await work
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


async def _until(plan: Plan, on_ready: Callable[[str], None], on_stopping: Callable[[], None]) -> None:
    async with running(plan, on_stopping) as platform:
        on_ready(platform.url)
        await platform.wait()
