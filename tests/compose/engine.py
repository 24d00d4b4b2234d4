"""A Docker engine, found or started, and the deployment on it. Everything is measured and printed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEPLOYMENT = ROOT / "deploy" / "compose"
OFFLINE = ROOT / "tests" / "compose" / "offline"
POLL_S = 0.1


class NoEngine(Exception):
    """No engine can be used here; the message says why."""


@dataclass(slots=True)
class Engine:
    """An engine behind DOCKER_HOST; `scratch` is set when it is ours."""

    host: str | None
    scratch: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of docker and docker-compose."""
        host = {"DOCKER_HOST": self.host} if self.host else {}
        # /usr/bin first: a static client elsewhere on PATH may be too new for a distribution's engine.
        path = {"PATH": f"/usr/bin:{os.environ['PATH']}"}
        return os.environ | host | path | {"DOCKER_BUILDKIT": "1", "COMPOSE_DOCKER_CLI_BUILD": "1"}

    def docker(self, *words: str) -> str:
        """Run docker and return what it prints. Raises CalledProcessError."""
        command = ("docker", *words)
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=self.environment).stdout

    def answers(self) -> bool:
        """Say whether the engine is there."""
        command = ("docker", "info")
        return subprocess.run(command, capture_output=True, env=self.environment, timeout=30).returncode == 0

    def start(self) -> None:
        """Start our own engine on its scratch directory. Raises NoEngine."""
        assert self.scratch is not None
        roots = ("--data-root", f"{self.scratch}/root", "--exec-root", f"{self.scratch}/exec")
        socket = ("--host", f"unix://{self.scratch}/docker.sock", "--pidfile", f"{self.scratch}/docker.pid")
        words = ("dockerd", *roots, *socket, "--iptables=false", "--ip6tables=false")
        with (self.scratch / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NoEngine(f"dockerd does not run here: {(self.scratch / 'dockerd.log').read_text()[-500:]}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Stop our own engine, and with it all containers."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=120)


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """The engine that answers; else one of our own, for as long as the context lasts. Raises NoEngine."""
    if shutil.which("docker") is None:
        raise NoEngine("there is no docker command")
    found = Engine(os.environ.get("DOCKER_HOST"))
    if found.answers():
        yield found
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngine("no Docker engine answers, and none can be started: that takes root and dockerd")
    with tempfile.TemporaryDirectory(prefix="trainmaster-docker-") as name:
        own = Engine(f"unix://{name}/docker.sock", Path(name))
        try:
            own.start()
            yield own
        finally:
            own.stop()


@dataclass(slots=True, kw_only=True)
class Deployment:
    """deploy/compose as a project of its own on an engine."""

    engine: Engine
    scratch: Path
    project: str = "trainmaster-test"
    port: int = 18443
    offline: bool = False
    overlays: tuple[Path, ...] = ()

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def settings_file(self) -> Path:
        """What stands in for .env."""
        return self.scratch / "env"

    def write_settings(self) -> None:
        """Settle which images are used: the pinned ones, or stand-ins made here. Raises NoEngine."""
        settings = (DEPLOYMENT / ".env.example").read_text()
        pinned = dict(line.split("=", 1) for line in settings.splitlines() if "_IMAGE=" in line)
        try:
            self.engine.docker("pull", "--quiet", pinned["TM_NATS_IMAGE"])
        except subprocess.CalledProcessError:
            self._make_images()
            settings += "\n" + (OFFLINE / "images.env").read_text()
        settings += f"\nCOMPOSE_PROJECT_NAME={self.project}\nTM_PORT={self.port}\nTM_REMOTE_AGENTS=1\n"
        settings += "TM_NATS_PORT=14222\nTM_S3_PORT=19443\n"
        self.settings_file.write_text(settings)

    def _make_images(self) -> None:
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise NoEngine("no registry can be reached, and images take root and debootstrap to make")
        self.offline = True
        command = (str(OFFLINE / "images.sh"), str(self.scratch / "images"), sys.executable)
        subprocess.run(command, check=True, env=self.engine.environment)

    def compose(self, *words: str) -> str:
        """Run Compose, v1 or v2, and return what it prints. Raises CalledProcessError."""
        program = ("docker-compose",) if shutil.which("docker-compose") else ("docker", "compose")
        command = (*program, "--env-file", str(self.settings_file), *self._files, *words)
        environment = self.engine.environment
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=DEPLOYMENT)
        return done.stdout

    @property
    def _files(self) -> list[str]:
        offline = (OFFLINE / "compose.yaml",) if self.offline else ()
        return [word for path in (DEPLOYMENT / "compose.yaml", *self.overlays, *offline) for word in ("-f", str(path))]

    def script(self, name: str, folder: Path) -> None:
        """Run backup.sh or restore.sh. Raises CalledProcessError."""
        environment = self.engine.environment | {"TM_ENV_FILE": str(self.settings_file)}
        subprocess.run((str(DEPLOYMENT / name), str(folder), *self._files), check=True, env=environment)

    def trust(self) -> None:
        """Have this process believe the deployment's certificates."""
        authority = self.scratch / "ca.crt"
        authority.write_text(self.compose("exec", "-T", "gateway", "cat", "/run/trainmaster/ca.crt"))
        os.environ["SSL_CERT_FILE"] = str(authority)

    def admin_token(self) -> str:
        """The token that opens everything, as an administrator of the machine finds it."""
        return self.compose("exec", "-T", "gateway", "cat", "/run/trainmaster/gateway/TM_ADMIN_TOKEN").strip()

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine says of each container, by its service and number: gateway, agent-2 and so on."""
        ids = self.engine.docker(
            "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"
        )
        if not ids:
            return {}
        described = json.loads(self.engine.docker("inspect", *ids.split()))
        return {_name(container): container for container in described}

    def wait_healthy(self, *, num_agents: int, timeout_s: float = 240) -> float:
        """Return after how many seconds every container is healthy, and each one-shot has ended well."""
        return measure(lambda: self._unhealthy(num_agents) == [], lambda: self._unhealthy(num_agents), timeout_s)

    def _unhealthy(self, num_agents: int) -> list[str]:
        containers = self.containers()
        expected = {
            "prepare",
            "init",
            "nats",
            "postgres",
            "minio",
            "gateway",
            "scheduler",
            "searcher",
            "tracker",
            "proxy",
        }
        if self.overlays:
            expected |= {"nats-2", "nats-3", "scheduler-2", "searcher-2"}
        expected |= {f"agent-{number}" for number in range(1, num_agents + 1)}
        return sorted(expected - {name for name, container in containers.items() if _is_well(container)})

    def kill(self, name: str) -> None:
        """kill -9 a container's first process. `docker kill` would tell the engine to leave it dead."""
        os.kill(self.containers()[name]["State"]["Pid"], signal.SIGKILL)

    def wait_restarted(self, name: str, num_restarts: int) -> float:
        """Return after how many seconds a killed container is healthy again."""

        def restarted() -> bool:
            container = self.containers()[name]
            return container["RestartCount"] > num_restarts and _is_well(container)

        return measure(restarted, lambda: self.containers()[name]["State"], 120)


def measure(condition: Callable[[], bool], describe: Callable[[], object], timeout_s: float) -> float:
    """Return after how many seconds a condition holds. Raises AssertionError with a description."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"after {timeout_s} s: {describe()}"
        time.sleep(POLL_S)
    return time.monotonic() - started


def _name(container: dict[str, Any]) -> str:
    labels = container["Config"]["Labels"]
    service = str(labels["com.docker.compose.service"])
    return f"{service}-{labels['com.docker.compose.container-number']}" if service == "agent" else service


def _is_well(container: dict[str, Any]) -> bool:
    state = container["State"]
    if "Health" in state:
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")
    return bool(state["Status"] == "exited" and state["ExitCode"] == 0)
