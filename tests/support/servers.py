"""Real servers for tests, on free ports in temporary directories; killed and started again at will."""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainmaster.embedded.nats import ADMIN, READER, SERVICES, nats_program, user_url
from trainmaster.embedded.program import Program, free_port

STOP_TIMEOUT_S = 15.0
PASSWORD = "test-password"
AGENTS = ("local", "local-2", "a1", "a2", "a3")


class RunningServer:
    """A server process that a test owns. Its port stays the same across kills and restarts."""

    def __init__(self, program: Program, log: Path) -> None:
        self._program = program
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the process that runs now."""
        assert self._process is not None, f"{self._program.name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self._program.prepare is not None:
            self._program.prepare()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._program.command,
                env=self._program.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _run(self._program.wait_ready)
        except TimeoutError as error:
            self.kill()
            raise AssertionError(f"{self._program.name} did not start:\n{self._log.read_text()[-2000:]}") from error

    def kill(self) -> None:
        """Kill the server as kill -9 does."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        """Ask the server to stop and wait for it; kill it when it takes too long."""
        if self._process is None:
            return
        self._process.send_signal(self._program.stop_signal)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait(STOP_TIMEOUT_S)
        self._process = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsServer:
    """A NATS server with the users and permissions of a real deployment; `url` is the administrator's."""

    server: RunningServer
    port: int

    @property
    def url(self) -> str:
        """The administrator's URL."""
        return self.url_as(ADMIN)

    def url_as(self, user: str) -> str:
        """Return the URL of a service ("scheduler") or of one of AGENTS ("worker-a1")."""
        return user_url(self.port, user, PASSWORD)


def new_nats_server(directory: Path, agents: tuple[str, ...] = AGENTS) -> NatsServer:
    """Return a NATS server that is not started yet."""
    port = free_port()
    users = [ADMIN, READER, *SERVICES, *(f"worker-{agent}" for agent in agents)]
    program = nats_program(directory, port, dict.fromkeys(users, PASSWORD))
    return NatsServer(server=RunningServer(program, directory / "server.log"), port=port)


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine to its end, even below a running event loop: in a thread of its own."""
    failures: list[Exception] = []

    def target() -> None:
        try:
            asyncio.run(work())
        except (TimeoutError, OSError) as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
