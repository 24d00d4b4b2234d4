"""Brings the platform up in one data directory, keeps it up, and takes it down in order.

Up: the three servers at once; when the broker answers, the streams, then every service at once; when they are
ready, the agents. Down: the agents first, so that their trials checkpoint while everything they need still runs;
then the services; the servers last.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from shared import broker
from shared.objectstore import ObjectStore
from trainmaster.embedded import s3
from trainmaster.embedded.child import Child
from trainmaster.embedded.credentials import Credentials, ensure_credentials
from trainmaster.embedded.directory import DataDirectory
from trainmaster.embedded.nats import ADMIN, nats_program, user_url
from trainmaster.embedded.postgres import postgres_program
from trainmaster.embedded.probe import http_status
from trainmaster.embedded.program import HOST, PROBE_INTERVAL_S, Program
from trainmaster.embedded.services import agent_ids, agent_program, service_programs

READY_TIMEOUT_S = 60.0
AGENT_GRACE_S = 75.0  # longer than a trial may take to checkpoint and stop
SERVICE_GRACE_S = 10.0
SERVER_GRACE_S = 15.0


class NotReady(Exception):
    """The platform did not get ready in time; the message says which log to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: one agent for each entry of `slots`."""

    directory: DataDirectory
    slots: tuple[str, ...]


class Platform:
    """The running children, in the order in which they were started."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._directory = plan.directory
        self._ports = plan.directory.choose_ports()
        self._credentials: Credentials = ensure_credentials(plan.directory.credentials_file, agent_ids(len(plan.slots)))
        self._servers: list[Child] = []
        self._services: list[Child] = []
        self._agents: list[Child] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where the page and the API are."""
        return f"http://{HOST}:{self._ports['gateway']}"

    async def start(self) -> None:
        """Start everything and wait until the gateway says that all parts answer. Raises NotReady."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S), asyncio.TaskGroup() as group:
                group.create_task(self._start_postgres(), name="start postgres")
                group.create_task(self._start_s3(), name="start s3")
                group.create_task(self._start_nats_and_services(), name="start nats")
        except TimeoutError as error:
            raise NotReady(f"the platform was not ready after {READY_TIMEOUT_S:.0f} s; see {self._logs()}") from error
        self._directory.write_cluster(
            {"url": self.url, "pid": os.getpid(), "slots": list(self._plan.slots), "since": time.time()}
        )

    async def stop(self) -> None:
        """Take everything down: agents, then services, then servers."""
        for children, grace_s in (
            (self._agents, AGENT_GRACE_S),
            (self._services, SERVICE_GRACE_S),
            (self._servers, SERVER_GRACE_S),
        ):
            await asyncio.gather(*(child.stop(grace_s) for child in children))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self) -> None:
        """Return never; raise when a child can no longer be kept."""
        await asyncio.gather(*self._tasks)

    async def _start_postgres(self) -> None:
        directory = self._directory.path / "postgres"
        make = partial(postgres_program, directory, self._ports["postgres"], self._credentials.postgres)
        await self._start_server(await asyncio.to_thread(make))

    async def _start_s3(self) -> None:
        port, credentials = self._ports["s3"], self._credentials
        keys = (credentials.s3_access_key, credentials.s3_secret_key)
        await self._start_server(s3.s3_program(self._directory.path / "s3", port, *keys))
        await ObjectStore(s3.s3_settings(port, *keys)).ensure_bucket()

    async def _start_nats_and_services(self) -> None:
        port, passwords = self._ports["nats"], self._credentials.nats
        await self._start_server(nats_program(self._directory.path / "nats", port, passwords))
        async with broker.connect(user_url(port, ADMIN, passwords[ADMIN]), "tm up") as client:
            await broker.create_streams(client)
        for program in service_programs(self._ports, self._credentials, self._directory.path / "state"):
            self._keep(program, self._services)
        await self._wait_ready()
        # Last: what an agent imports ahead of need keeps a core busy for seconds.
        for agent_id, slots in zip(agent_ids(len(self._plan.slots)), self._plan.slots, strict=True):
            work_dir = self._directory.path / "agents" / agent_id
            self._keep(agent_program(agent_id, slots, work_dir, self._ports, self._credentials), self._agents)

    async def _wait_ready(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                if await http_status(self._ports["gateway"], "/readyz") == 200:  # the HTTP status
                    return
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _start_server(self, program: Program) -> None:
        self._keep(program, self._servers)
        await program.wait_ready()

    def _keep(self, program: Program, children: list[Child]) -> None:
        child = Child(program, self._directory, self._note_processes)
        children.append(child)
        self._tasks.add(asyncio.get_running_loop().create_task(child.run(), name=program.name))

    def _note_processes(self) -> None:
        children: Sequence[Child] = [*self._servers, *self._services, *self._agents]
        self._directory.write_processes(
            {
                child.program.name: {
                    "pid": child.pid,
                    "restarts": child.num_restarts,
                    "started_at": child.started_at,
                }
                for child in children
                if child.pid is not None
            }
        )

    def _logs(self) -> str:
        return str(self._directory.log_file("*"))


@contextlib.asynccontextmanager
async def running(plan: Plan, on_stopping: Callable[[], None]) -> AsyncIterator[Platform]:
    """The platform, ready, for as long as the context lasts. Raises AlreadyRunning and NotReady."""
    with plan.directory.locked():
        platform = Platform(plan)
        try:
            await platform.start()
            yield platform
        finally:
            on_stopping()
            await platform.stop()
