"""Brings the platform up in one data directory, keeps it up, and takes it down in order.

Up: the three servers at once; when the broker answers, the streams, then every service at once; when they are
ready, the agents; it is up once all have joined. Down: the agents first, so that their trials checkpoint while
everything they need still runs; then the services; the servers last.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from shared import broker
from shared.objectstore import ObjectStore
from trainmaster.embedded import s3
from trainmaster.embedded.child import Child
from trainmaster.embedded.credentials import Credentials, ensure_credentials
from trainmaster.embedded.directory import DataDirectory
from trainmaster.embedded.nats import ADMIN, nats_program, user_url
from trainmaster.embedded.postgres import postgres_program
from trainmaster.embedded.probe import http_json, http_status
from trainmaster.embedded.program import HOST, PROBE_INTERVAL_S, Program
from trainmaster.embedded.services import agent_ids, agent_program, service_names, service_programs

READY_TIMEOUT_S = 60.0
JOIN_INTERVAL_S = 0.1
AGENT_GRACE_S = 75.0  # longer than a trial may take to checkpoint and stop
SERVICE_GRACE_S = 10.0
SERVER_GRACE_S = 15.0


class NotReady(Exception):
    """The platform did not get ready; the message says why, or which log to read."""


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
        self._ports = plan.directory.choose_ports(service_names(len(plan.slots)))
        plan.directory.write_targets(self._ports)
        self._credentials: Credentials = ensure_credentials(plan.directory.credentials_file, agent_ids(len(plan.slots)))
        self._servers: list[Child] = []
        self._services: list[Child] = []
        self._agents: list[Child] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._dying = asyncio.Event()  # a child keeps dying

    @property
    def url(self) -> str:
        """Where the page and the API are."""
        return f"http://{HOST}:{self._ports['gateway']}"

    async def start(self) -> None:
        """Start everything and wait until all parts answer and all agents have joined. Raises NotReady."""
        starting = asyncio.create_task(self._start_all(), name="start")
        dying = asyncio.create_task(self._dying.wait(), name="dying")
        try:
            await asyncio.wait((starting, dying), timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done() or _is_timeout(starting.exception()):
                raise NotReady(self._why_not())
            await starting
        finally:
            dying.cancel()
            starting.cancel()
            await asyncio.gather(starting, dying, return_exceptions=True)
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

    async def _start_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_postgres(), name="start postgres")
            group.create_task(self._start_s3(), name="start s3")
            group.create_task(self._start_nats_and_services(), name="start nats")

    def _why_not(self) -> str:
        for child in self._children:
            if child.keeps_dying is not None:
                return f"{child.keeps_dying} (log: {self._directory.log_file(child.program.name)})"
        late = "an agent has not joined" if self._agents else "a server or a service does not answer"
        return f"the platform did not get ready in time, {late}; see {self._directory.log_file('*')}"

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
        since = datetime.now(UTC)
        for agent_id, slots in zip(agent_ids(len(self._plan.slots)), self._plan.slots, strict=True):
            work_dir = self._directory.path / "agents" / agent_id
            self._keep(agent_program(agent_id, slots, work_dir, self._ports, self._credentials), self._agents)
        await self._wait_joined(since)

    async def _wait_ready(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                if await http_status(self._ports["gateway"], "/readyz") == 200:  # the HTTP status
                    return
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _wait_joined(self, since: datetime) -> None:
        wanted = set(agent_ids(len(self._plan.slots)))
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                agents = (await http_json(self._ports["gateway"], "/api/v1/agents", self._credentials.admin_token))[
                    "items"
                ]
                joined = {
                    agent["id"]
                    for agent in agents
                    if agent["state"] == "UP" and datetime.fromisoformat(agent["joined_at"]) >= since
                }
                if wanted <= joined:
                    return
            await asyncio.sleep(JOIN_INTERVAL_S)

    async def _start_server(self, program: Program) -> None:
        self._keep(program, self._servers)
        await program.wait_ready()

    def _keep(self, program: Program, children: list[Child]) -> None:
        child = Child(program, self._directory, self._note_processes, self._dying.set)
        children.append(child)
        self._tasks.add(asyncio.get_running_loop().create_task(child.run(), name=program.name))

    def _note_processes(self) -> None:
        self._directory.write_processes(
            {
                child.program.name: {
                    "pid": child.pid,
                    "restarts": child.num_restarts,
                    "started_at": child.started_at,
                }
                for child in self._children
                if child.pid is not None
            }
        )

    @property
    def _children(self) -> Sequence[Child]:
        return [*self._servers, *self._services, *self._agents]


def _is_timeout(error: BaseException | None) -> bool:
    return isinstance(error, BaseExceptionGroup) and error.split(TimeoutError)[1] is None


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
