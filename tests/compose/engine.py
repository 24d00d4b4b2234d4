"""A Docker engine, found or started, and the images of the deployment on it: the official ones, or stand-ins."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYMENT = ROOT / "deploy" / "compose"
OFFLINE = ROOT / "tests" / "compose" / "offline"
POLL_S = 0.1


class NoEngine(Exception):
    """No engine can be used here; the message says why."""


def only_where_asked_for() -> None:
    """Skip the module that calls this, unless `./tm test --compose` runs."""
    if os.environ.get("TM_TEST_COMPOSE") != "1":
        missing = what_is_missing()
        reason = f"half an hour on a Docker engine; ./tm test --compose runs it{missing and f'. But {missing}'}"
        pytest.skip(reason, allow_module_level=True)


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

    def has(self, *words: str) -> bool:
        """Say whether a docker command succeeds, within five minutes."""
        done = subprocess.run(("docker", *words), capture_output=True, env=self.environment, timeout=300)
        return done.returncode == 0

    def start(self) -> None:
        """Start our own engine on its scratch directory. Raises NoEngine."""
        assert self.scratch is not None
        roots = ("--data-root", f"{self.scratch}/root", "--exec-root", f"{self.scratch}/exec")
        socket = ("--host", f"unix://{self.scratch}/docker.sock", "--pidfile", f"{self.scratch}/docker.pid")
        words = ("dockerd", *roots, *socket, "--iptables=false", "--ip6tables=false")
        with (self.scratch / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.has("info"):
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
    if hindrance := what_is_missing():
        raise NoEngine(hindrance)
    found = Engine(os.environ.get("DOCKER_HOST"))
    if found.has("info"):
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="trainmaster-docker-") as name:
        own = Engine(f"unix://{name}/docker.sock", Path(name))
        try:
            own.start()
            yield own
        finally:
            own.stop()


def what_is_missing() -> str:
    """Why no engine can be used here; empty if one answers, or if nothing speaks against starting one."""
    if shutil.which("docker") is None:
        return "there is no docker command (Debian: apt install docker.io docker-compose debootstrap)"
    found = Engine(os.environ.get("DOCKER_HOST"))
    if not (found.has("compose", "version") or shutil.which("docker-compose")):
        return "there is no Docker Compose (Debian: apt install docker-compose)"
    if found.has("info"):
        return ""
    if shutil.which("dockerd") is None:
        return "no Docker engine answers, and there is no dockerd to start one (Debian: apt install docker.io)"
    return "" if os.geteuid() == 0 else "no Docker engine answers, and only root could start one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Which images are used: what is set besides .env.example, and whether they are stand-ins."""

    settings: str
    stand_ins: bool


def images(found: Engine, scratch: Path) -> Images:
    """The pinned images where a registry can be reached, else stand-ins made in `scratch`. Raises NoEngine."""
    [pinned] = re.findall(r"^TM_NATS_IMAGE=(.+)", (DEPLOYMENT / ".env.example").read_text(), re.MULTILINE)
    if found.has("pull", "--quiet", pinned):
        return Images(settings="", stand_ins=False)
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise NoEngine("no registry can be reached, and images take root and debootstrap to make")
    subprocess.run((str(OFFLINE / "images.sh"), str(scratch), sys.executable), check=True, env=found.environment)
    return Images(settings=(OFFLINE / "images.env").read_text(), stand_ins=True)
