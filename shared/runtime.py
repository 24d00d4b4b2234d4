"""What every service process does the same way: logging, signals, heartbeats, one task group."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from shared import tracing
from shared.broker import raise_if_cancelled

HEARTBEAT_S = 1.0

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_log = logging.getLogger(__name__)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        line |= {"message": record.getMessage()}
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging() -> None:
    """Send log records to stdout as JSON lines; level from TM_LOG_LEVEL."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=os.environ.get("TM_LOG_LEVEL", "INFO"), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel(logging.WARNING)


def run_service(service: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a service until it fails or SIGTERM/SIGINT cancels it; it drains in its `finally` blocks.

    A second signal exits at once. A service that fails exits non-zero, to be restarted.
    """
    configure_logging()
    without_garbage()
    asyncio.run(_until_signal(service))


def without_garbage() -> None:
    """Have Python look for garbage no more in what there is now: modules, which live as long as the process.

    Without that, each full collection goes through all of them first, and the service pauses for that long.
    """
    gc.collect()
    gc.freeze()


async def _until_signal(service: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.ensure_future(_traced(service))
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            os._exit(1)
        stopping = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise


async def _traced(service: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with tracing.exporting():
        await service()


async def beat(client: Client, subject: str, facts: Callable[[], dict[str, Any]]) -> None:
    """Say every HEARTBEAT_S on a health subject that this process is alive, with a few facts as JSON.

    The file named by TM_ALIVE_FILE is touched with each beat: a container's health check looks at its age.
    """
    alive_file = os.environ.get("TM_ALIVE_FILE")
    while True:
        body = json.dumps({"pid": os.getpid(), "time": time.time()} | facts()).encode()
        try:
            if client.is_connected:  # a beat that waits for a reconnect would be a lie
                await client.publish(subject, body)
                if alive_file:
                    Path(alive_file).touch()
        except nats.errors.Error as error:
            _log.warning("heartbeat failed", extra={"error": repr(error)})
        await asyncio.sleep(HEARTBEAT_S)
        raise_if_cancelled()
