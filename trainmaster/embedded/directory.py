"""The data directory: where everything of one platform lies, and who runs it now.

lock               held with flock by the supervisor for as long as it lives; its pid inside
cluster.json       written when the platform is ready: url, pid, slots, since
processes.json     the pids of the programs, rewritten at each start
ports.json         the ports of the last start, taken again when they are free
metrics-targets.json  where each service shows its metrics, for Prometheus
credentials.json   secrets (0600)
nats/ postgres/ s3/ agents/<agent>/ logs/<program>.log
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trainmaster.embedded.program import HOST, free_port

DEFAULT = "~/.trainmaster"
MAX_LOG_BYTES = 10 * 1024 * 1024
PORTS = ("nats", "postgres", "s3", "gateway")


def metrics_port(program: str) -> str:
    """Return under which name a program's port for its metrics is kept."""
    return f"metrics {program}"


class AlreadyRunning(Exception):
    """Another supervisor holds the data directory."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """The paths of one data directory."""

    path: Path

    @classmethod
    def named(cls, name: str | None) -> "DataDirectory":
        """Return the directory of that name, else of TM_DATA, else the default."""
        return cls(Path(name or os.environ.get("TM_DATA") or DEFAULT).expanduser().absolute())

    @property
    def cluster_file(self) -> Path:
        """Where a running platform says how to reach it."""
        return self.path / "cluster.json"

    @property
    def credentials_file(self) -> Path:
        """Where the secrets lie."""
        return self.path / "credentials.json"

    def log_file(self, program: str) -> Path:
        """Return where a program's output goes."""
        return self.path / "logs" / f"{program}.log"

    def create(self) -> None:
        """Make the directory, closed to other users, unless it is there."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log_file("").parent.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory against other supervisors. Raises AlreadyRunning."""
        self.create()
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AlreadyRunning(str(self.path)) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                self.cluster_file.unlink(missing_ok=True)
                file.truncate(0)

    def supervisor_pid(self) -> int | None:
        """Return the pid of the supervisor that holds the directory, None if nobody does."""
        with contextlib.suppress(FileNotFoundError), (self.path / "lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
        return None

    def cluster(self) -> dict[str, Any] | None:
        """Return what a ready platform says of itself; None while there is none."""
        cluster = _read_json(self.cluster_file)
        return cluster if cluster and cluster["pid"] == self.supervisor_pid() else None

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return the pid, the number of restarts and the start time of each program."""
        return _read_json(self.path / "processes.json") or {}

    def write_cluster(self, cluster: dict[str, Any]) -> None:
        """Say that the platform is ready."""
        _write_json(self.cluster_file, cluster)

    def write_targets(self, ports: dict[str, int]) -> None:
        """Say where metrics are, in the form of Prometheus' file_sd_configs."""
        targets = [
            {"targets": [f"{HOST}:{ports[metrics_port(name)]}"], "labels": {"program": name}}
            for name in (key.removeprefix(metrics_port("")) for key in ports if key.startswith(metrics_port("")))
        ]
        _write_json(self.path / "metrics-targets.json", targets)

    def write_processes(self, processes: dict[str, dict[str, Any]]) -> None:
        """Note the programs that run now."""
        _write_json(self.path / "processes.json", processes)

    def ports(self) -> dict[str, int]:
        """Return the port of each server at the last start."""
        return _read_json(self.path / "ports.json") or {}

    def choose_ports(self, shown: Iterable[str] = ()) -> dict[str, int]:
        """Return a free port for each server, and for the metrics of each program that is `shown`.

        They are the ones of the last time where those are free.
        """
        remembered = self.ports()
        ports: dict[str, int] = {}
        for name in (*PORTS, *map(metrics_port, shown)):
            ports[name] = free_port(remembered.get(name), taken=frozenset(ports.values()))
        _write_json(self.path / "ports.json", ports)
        return ports

    def open_log(self, program: str) -> BinaryIO:
        """Open a program's log for appending; one that has grown too large is set aside first."""
        path = self.log_file(program)
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return content


def _write_json(path: Path, content: dict[str, Any] | list[dict[str, Any]]) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(content, indent=1))
    scratch.replace(path)
