"""A whole platform as a user starts it: `tm up` in a data directory of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shared import broker
from tests.support.eventually import eventually_sync
from trainmaster.embedded.directory import DataDirectory
from trainmaster.embedded.nats import user_url

COMMAND_TIMEOUT_S = 300.0
RESTART_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPlatform:
    """A platform that is up; `tm` runs a command against it."""

    url: str
    data: Path

    @property
    def token(self) -> str:
        """The administrator's token."""
        token: str = json.loads((self.data / "credentials.json").read_text())["admin_token"]
        return token

    def tm(self, *words: str, timeout_s: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run a tm command and return how it ended, with what it printed."""
        return run_tm(*words, env={"TM_DATA": str(self.data)}, timeout_s=timeout_s)

    def kill(self, program: str, *, timeout_s: float = RESTART_TIMEOUT_S) -> None:
        """Kill a program as kill -9 does; return when the supervisor has started another in its place.

        The file of the programs does not tell of one that is down while others are started.
        """
        processes = DataDirectory(self.data).processes
        killed = eventually_sync(lambda: processes().get(program))
        assert killed is not None
        os.kill(killed["pid"], signal.SIGKILL)
        eventually_sync(lambda: processes().get(program, killed)["restarts"] > killed["restarts"], timeout_s=timeout_s)

    def publish(self, user: str, subject: str, body: bytes) -> int:
        """Store a message in a stream, as one of the broker's users, and return its sequence."""
        ports = json.loads((self.data / "ports.json").read_text())
        passwords = json.loads((self.data / "credentials.json").read_text())["nats"]
        url = user_url(ports["nats"], user, passwords[user])
        with ThreadPoolExecutor(1) as thread:  # an event loop may be running in this one
            return thread.submit(asyncio.run, _publish(url, subject, body)).result(COMMAND_TIMEOUT_S)


async def _publish(url: str, subject: str, body: bytes) -> int:
    async with broker.connect(url, "test") as client:
        return (await client.jetstream().publish(subject, body)).seq


def run_tm(
    *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float = COMMAND_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a tm command in an environment without TM_ variables but those given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TM_")}
    return subprocess.run(
        (sys.executable, "-P", "-m", "trainmaster.cli", *words),
        env=inherited | dict(env or {}),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def start_platform(data: Path, *slots: str) -> RunningPlatform:
    """Start a platform and return when it is ready; one agent for each value of `slots`."""
    words = [word for value in slots for word in ("--slots", value)]
    started = run_tm("up", "--detach", "--json", "--data", str(data), *words)
    assert started.returncode == 0, started.stderr
    return RunningPlatform(url=json.loads(started.stdout)["url"], data=data)


def stop_platform(platform: RunningPlatform) -> None:
    """Stop a platform and wait until it is down."""
    stopped = platform.tm("down")
    assert stopped.returncode == 0, stopped.stderr
