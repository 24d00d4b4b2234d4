"""The agent's side of the warm parent: keeps one alive, asks it for processes, hears how they end."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from services.worker.backoff import Backoff
from services.worker.zygote import MAX_PACKET_BYTES

LONGEST_RESTART_S = 30.0
HEALTHY_S = 60.0  # a parent that lived this long did not die of how it was started
END_TIMEOUT_S = 2.0
SEND_BUFFER_BYTES = 2 * MAX_PACKET_BYTES

_log = logging.getLogger(__name__)


class CannotSpawn(Exception):
    """No process was made; the reason says why."""


class ParentDied(CannotSpawn):
    """No process was made, by no fault of what was to run."""


@dataclass(slots=True)
class Process:
    """A process that leads a group of its own. `exited` has its exit code, negative for a signal; None if the warm
    parent died, and this process with it."""

    pid: int
    exited: asyncio.Future[int | None]
    _parent: "Parent"

    def signal(self, number: int) -> None:
        """Send a signal to the process group, unless the process has ended."""
        if self.exited.done():
            return
        try:
            self._parent.send({"type": "signal", "pid": self.pid, "signal": int(number)})
        except CannotSpawn:  # it does not listen; whether the process still exists, only the kernel can say
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Parent:
    """A warm parent that is started again whenever it dies."""

    def __init__(
        self, modules: Sequence[str], *, environment: Mapping[str, str], inherited_fds: Sequence[int] = ()
    ) -> None:
        self._modules = tuple(modules)
        self._environment = dict(environment)
        self._inherited_fds = tuple(inherited_fds)
        self._connection: socket.socket | None = None
        self._ready = asyncio.Event()
        self._processes: dict[int, Process] = {}
        self._asked: dict[int, asyncio.Future[Process]] = {}
        self._num_asked = 0
        self._has_used_cuda = False

    @property
    def has_used_cuda(self) -> bool:
        """Whether what it imported has used CUDA, so that its forks cannot."""
        return self._has_used_cuda

    @property
    def is_warm(self) -> bool:
        """Whether a process would be forked at once."""
        return self._ready.is_set()

    async def wait_until_warm(self) -> None:
        """Wait until everything is imported."""
        await self._ready.wait()

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        warm: bool,
        environment: Mapping[str, str],
        directory: Path,
        stdout: int,
        stderr: int,
        memory_bytes: int | None = None,
        cpus: Sequence[int] | None = None,
    ) -> Process:
        """Start a program with its output going to two descriptors. Raises CannotSpawn.

        `warm`: argv is what would follow `python`, and runs in a fork of the warm interpreter. `memory_bytes` limits
        the data that the process, and each that it starts, may hold; they run on `cpus` only.
        """
        request = {
            "type": "spawn",
            "argv": list(argv),
            "warm": warm,
            "env": dict(environment),
            "cwd": str(directory),
            "memory_bytes": memory_bytes,
            "cpus": cpus,
        }
        return await self._ask(request, [stdout, stderr])

    async def open_store(self, address: str, port: int, listening_fd: int) -> Process:
        """Start a process that hosts a rendezvous store on a listening socket. Raises CannotSpawn."""
        return await self._ask({"type": "store", "address": address, "port": port}, [listening_fd])

    def send(self, request: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a request. Raises CannotSpawn when the parent is gone or the request is too long for one packet."""
        body = msgpack.packb(request)
        if len(body) > MAX_PACKET_BYTES:
            raise CannotSpawn(
                f"arguments and environment have {len(body)} bytes; at most {MAX_PACKET_BYTES} are possible"
            )
        if self._connection is None:
            raise ParentDied("the process that starts ranks has just died")
        try:
            socket.send_fds(self._connection, [body], fds)
        except OSError as error:
            raise ParentDied(f"the process that starts ranks does not answer: {error}") from error

    async def run(self) -> None:
        """Keep a warm parent for ever."""
        backoff = Backoff(longest_s=LONGEST_RESTART_S)
        while True:
            started_at = time.monotonic()
            await self._live()
            _log.error("the warm parent died; its processes are interrupted")
            if time.monotonic() - started_at > HEALTHY_S:
                backoff = Backoff(longest_s=LONGEST_RESTART_S)
            await backoff.pause()

    async def _live(self) -> None:
        """Start a parent and return when it is dead."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        with ours, theirs:
            child = self._start(theirs.fileno())
            theirs.close()
            loop = asyncio.get_running_loop()
            dead = loop.create_future()
            loop.add_reader(ours, self._receive, ours, dead)
            self._connection = ours
            try:
                await dead
            finally:
                loop.remove_reader(ours)
                self._bury(child)

    def _start(self, fd: int) -> "subprocess.Popen[bytes]":
        """Start the process. From the main thread: its death signal comes when the thread that started it ends."""
        return subprocess.Popen(
            [sys.executable, "-m", "services.worker.zygote", str(fd), str(os.getpid()), *self._modules],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=2,  # our own output is JSON lines
            pass_fds=(fd, *self._inherited_fds),
            start_new_session=True,  # Ctrl-C is for the agent to answer
        )

    def _receive(self, connection: socket.socket, dead: asyncio.Future[None]) -> None:
        with contextlib.suppress(BlockingIOError):
            while body := self._next_packet(connection):
                self._hear(msgpack.unpackb(body))
            if not dead.done():
                dead.set_result(None)

    def _next_packet(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(MAX_PACKET_BYTES)
        except ConnectionError:
            return b""

    def _hear(self, report: dict[str, Any]) -> None:
        match report["type"]:
            case "ready":
                self._has_used_cuda = report["has_used_cuda"]
                self._ready.set()
                _log.info("the warm parent is ready", extra={"has_used_cuda": self._has_used_cuda})
            case "spawned":
                process = Process(report["pid"], asyncio.get_running_loop().create_future(), self)
                self._processes[process.pid] = process
                asked = self._asked.pop(report["id"])
                if asked.cancelled():
                    process.signal(signal.SIGKILL)
                else:
                    asked.set_result(process)
            case "refused":
                asked = self._asked.pop(report["id"])
                if not asked.cancelled():
                    asked.set_exception(CannotSpawn(report["error"]))
            case "exited":
                self._processes.pop(report["pid"]).exited.set_result(report["code"])

    async def _ask(self, request: dict[str, Any], fds: Sequence[int]) -> Process:
        await self._ready.wait()
        self._num_asked += 1
        asked: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._asked[self._num_asked] = asked
        try:
            self.send(request | {"id": self._num_asked}, fds)
        except CannotSpawn:
            self._asked.pop(self._num_asked)
            raise
        return await asked

    def _bury(self, child: "subprocess.Popen[bytes]") -> None:
        """End the parent if it still lives, and everything that it started."""
        self._ready.clear()
        self._connection = None
        child.terminate()
        try:
            child.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(END_TIMEOUT_S)
        asked, self._asked = self._asked, {}
        for request in asked.values():
            if not request.cancelled():
                request.set_exception(ParentDied("the process that starts ranks died"))
        processes, self._processes = self._processes, {}
        for process in processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the kernel has killed the leader; this ends the rest
            process.exited.set_result(None)
