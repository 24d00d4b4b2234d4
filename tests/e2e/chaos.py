"""kill -9, for real processes of a running platform, and what the log says afterwards."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from shared import broker, subjects
from shared.decisions import Fold
from shared.events import Event
from shared.log import Follower
from tests.support.eventually import eventually
from tests.support.platform import RunningPlatform
from trainmaster.embedded.nats import user_url

READ_TIMEOUT_S = 60.0


def pid_of(platform: RunningPlatform, program: str) -> int:
    """The pid of a program of the platform, as the supervisor noted it."""
    pid: int = json.loads((platform.data / "processes.json").read_text())[program]["pid"]
    return pid


async def kill_and_await_restart(platform: RunningPlatform, program: str) -> None:
    """kill -9 a program; return when the supervisor has started another in its place."""
    killed = pid_of(platform, program)
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: pid_of(platform, program) != killed, timeout_s=30)


def rank_pids(platform: RunningPlatform) -> list[int]:
    """The pids of all training ranks of a platform: they run in an allocation's code directory."""
    agents = platform.data / "agents"
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_rank(entry, agents)]


def _is_rank(entry: Path, agents: Path) -> bool:
    try:
        directory = (entry / "cwd").readlink()
    except OSError:  # it has just ended
        return False
    return directory.name == "code" and directory.is_relative_to(agents)


class LogReader:
    """Reads the platform's log straight from the broker, past every service."""

    def __init__(self, platform: RunningPlatform) -> None:
        ports = json.loads((platform.data / "ports.json").read_text())
        passwords = json.loads((platform.data / "credentials.json").read_text())["nats"]
        self._url = user_url(ports["nats"], "tracker", passwords["tracker"])

    async def until(
        self, condition: Callable[[list[Event]], bool], *, timeout_s: float = READ_TIMEOUT_S
    ) -> list[Event]:
        """All events from the first, as soon as the condition holds for them."""
        events: list[Event] = []
        folded = Fold(lambda recorded: events.append(recorded.event) if recorded.event else None)
        async with broker.connect(self._url, "test") as client, asyncio.timeout(timeout_s):
            follower = Follower(client, subjects.EVENTS)
            while not condition(events):
                folded(await follower.next())
        return events


def count(events: list[Event], kind: type[Event]) -> int:
    """How many events of a type there are."""
    return sum(isinstance(event, kind) for event in events)
