"""deploy/compose as a project of its own on an engine: brought up, looked at, hurt. What takes time is measured."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.compose.engine import DEPLOYMENT, OFFLINE, POLL_S, Engine, Images

NUM_AGENTS = 2
SERVICES = frozenset(
    ("prepare", "init", "nats", "postgres", "minio", "gateway", "scheduler", "searcher", "tracker", "proxy")
)
ROTATE = ("python", "-P", "-m", "trainmaster.compose", "rotate")
CLUSTER = DEPLOYMENT / "compose.cluster.yaml"
STANDBYS = frozenset(("nats-2", "nats-3", "scheduler-2", "searcher-2"))


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A deployment's settings, and what can be done to it. All methods raise CalledProcessError."""

    engine: Engine
    images: Images
    scratch: Path
    folder: Path = DEPLOYMENT
    overlays: tuple[Path, ...] = ()
    project: str = "trainmaster-test"
    port: int = 18443
    num_agents: int = NUM_AGENTS
    services: set[str] = field(default_factory=lambda: set(SERVICES))

    def __post_init__(self) -> None:
        self.write_settings()
        if CLUSTER in self.overlays:
            self.services |= STANDBYS

    def write_settings(self) -> None:
        """Write what stands in for .env."""
        ports = f"TM_PORT={self.port}\nTM_NATS_PORT=14222\nTM_S3_PORT=19443\nTM_GRAFANA_PORT=13000\n"
        own = f"COMPOSE_PROJECT_NAME={self.project}\nTM_REMOTE_AGENTS=1\n{ports}"
        self.settings_file.write_text(
            "\n".join(((self.folder / ".env.example").read_text(), self.images.settings, own))
        )

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def settings_file(self) -> Path:
        """What stands in for .env."""
        return self.scratch / "env"

    def set(self, **settings: object) -> None:
        """Change settings; the next `up` uses them."""
        with self.settings_file.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def compose(self, *words: str, stdin: str | None = None) -> str:
        """Run Compose, v2 if it is there, and return what it prints."""
        program = ("docker", "compose") if self.engine.has("compose", "version") else ("docker-compose",)
        command = (*program, "--env-file", str(self.settings_file), *self._files, *words)
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "input": stdin}
        return str(subprocess.run(command, check=True, env=self.engine.environment, cwd=self.folder, **streams).stdout)

    @property
    def _files(self) -> list[str]:
        offline = (OFFLINE / "compose.yaml",) if self.images.stand_ins else ()
        return [word for path in (self.folder / "compose.yaml", *self.overlays, *offline) for word in ("-f", str(path))]

    def up(self) -> None:
        """Start what is not there yet."""
        self.compose("up", "--detach", "--no-build", "--scale", f"agent={self.num_agents}")

    def script(self, name: str, folder: Path) -> None:
        """Run backup.sh or restore.sh."""
        environment = self.engine.environment | {"TM_ENV_FILE": str(self.settings_file)}
        subprocess.run((str(self.folder / name), str(folder), *self._files), check=True, env=environment)

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
        label = f"label=com.docker.compose.project={self.project}"
        ids = self.engine.docker("ps", "--all", "--quiet", "--filter", label)
        if not ids:
            return {}
        described = json.loads(self.engine.docker("inspect", *ids.split()))
        return {_name(container): container for container in described}

    def wait_healthy(self, timeout_s: float = 240) -> float:
        """Return after how many seconds every container is healthy, and each one-shot has ended well."""
        return measure(lambda: self._unhealthy() == [], self._unhealthy, timeout_s)

    def _unhealthy(self) -> list[str]:
        expected = self.services | {f"agent-{number}" for number in range(1, self.num_agents + 1)}
        return sorted(expected - {name for name, container in self.containers().items() if _is_well(container)})

    def kill(self, name: str) -> None:
        """kill -9 a container's first process. `docker kill` would tell the engine to leave it dead."""
        os.kill(self.containers()[name]["State"]["Pid"], signal.SIGKILL)

    def wait_restarted(self, name: str, num_restarts: int) -> float:
        """Return after how many seconds a killed container is healthy again."""

        def restarted() -> bool:
            container = self.containers()[name]
            return container["RestartCount"] > num_restarts and _is_well(container)

        return measure(restarted, lambda: self.containers()[name]["State"], 120)


@contextlib.contextmanager
def running(deployment: Deployment) -> Iterator[Deployment]:
    """Bring a deployment up, and down again with its volumes."""
    try:
        note("up", timed(deployment.up))
        note("up: until all are healthy", deployment.wait_healthy())
        deployment.trust()
        yield deployment
    finally:
        # Compose v2 leaves alone what belongs to a profile that it was not told of, and then the network too.
        deployment.compose("--profile", "cpu", "--profile", "monitoring", "down", "--volumes")


def measure(condition: Callable[[], bool], describe: Callable[[], object], timeout_s: float) -> float:
    """Return after how many seconds a condition holds. Raises AssertionError with a description."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"after {timeout_s} s: {describe()}"
        time.sleep(POLL_S)
    return time.monotonic() - started


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds an action takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def note(what: str, seconds: float) -> None:
    """Print a figure; docs/operations.md and deploy/compose/README.md have them."""
    print(f"MEASURED {what}: {seconds:.1f} s", flush=True)  # noqa: T201 # what the run is for


def _name(container: dict[str, Any]) -> str:
    labels = container["Config"]["Labels"]
    service = str(labels["com.docker.compose.service"])
    return f"{service}-{labels['com.docker.compose.container-number']}" if service == "agent" else service


def _is_well(container: dict[str, Any]) -> bool:
    state = container["State"]
    if "Health" in state:
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")
    return bool(state["Status"] == "exited" and state["ExitCode"] == 0)
