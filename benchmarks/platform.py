"""A platform of the benchmark's own: started in a temporary directory, warm, stopped at the end."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import httpx

from shared import archive

T = TypeVar("T")

READY_TIMEOUT_S = 120.0
EXPERIMENT_TIMEOUT_S = 300.0
POLL_S = 0.05


class Platform:
    """A running platform, driven over HTTP as any client would."""

    def __init__(self, url: str, data: Path) -> None:
        self.data, self.url = data, url
        self.token: str = json.loads((data / "credentials.json").read_text())["admin_token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self._http = httpx.Client(base_url=url + "/api/v1", timeout=30, headers=self.headers)

    @property
    def address(self) -> tuple[str, int]:
        """Where the gateway listens."""
        found = httpx.URL(self.url)
        return found.host, found.port or 80

    def wait_until_warm(self) -> None:
        """Return once every agent's resident processes have imported torch and deepspeed."""

        def is_warm() -> bool:
            services = self._get("/status")["services"]
            workers = [service for service in services if service["name"] == "worker"]
            return bool(workers) and all(worker["facts"].get("warm") for worker in workers)

        _wait(is_warm, READY_TIMEOUT_S)

    def submit(self, config: dict[str, Any], code: Path) -> str:
        """Submit an experiment (its file as a dict, its code directory) and return its id."""
        files = {"config": json.dumps(config).encode(), "code": archive.pack(code)}
        response = self._http.post("/experiments", files=files)
        response.raise_for_status()
        experiment_id: str = response.json()["id"]
        return experiment_id

    def wait_for(self, experiment_id: str) -> dict[str, Any]:
        """Return the experiment once it has ended. Raises SystemExit unless it completed."""

        def ended() -> dict[str, Any] | None:
            experiment = self._get(f"/experiments/{experiment_id}")
            return experiment if experiment["state"] not in ("ACTIVE", "PAUSED") else None

        experiment = _wait(ended, EXPERIMENT_TIMEOUT_S)
        if experiment["state"] != "COMPLETED":
            raise SystemExit(f"experiment {experiment_id} ended {experiment['state']}: {experiment['reason']}")
        return experiment

    def cancel(self, experiment_id: str) -> None:
        """End an experiment."""
        self._http.post(f"/experiments/{experiment_id}/cancel").raise_for_status()

    def events(self, experiment_id: str) -> list[dict[str, Any]]:
        """Return all events of an experiment, oldest first."""
        items: list[dict[str, Any]] = []
        after = 0
        while True:
            page = self._get("/events", experiment=experiment_id, after=after, limit=500)
            items += page["items"]
            after = page["next_after"]
            if page["at_head"]:
                return items

    def log_lines(self, trial_id: str) -> list[str]:
        """Return what a trial wrote."""
        response = self._http.get(f"/trials/{trial_id}/logs")
        response.raise_for_status()
        return [json.loads(line)["text"] for line in response.text.splitlines() if line]

    def _get(self, path: str, **query: object) -> dict[str, Any]:
        response = self._http.get(path, params={key: str(value) for key, value in query.items()})
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


@contextlib.contextmanager
def platform(slots: str, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[Platform]:
    """Start a platform with the given slots and settings; stop it, with everything it left, at the end."""
    with tempfile.TemporaryDirectory(prefix="tm-bench-") as directory:
        started = _tm("up", "--detach", "--data", directory, "--slots", slots, "--json", environment=environment)
        try:
            running = Platform(json.loads(started)["url"], Path(directory))
            running.wait_until_warm()
            yield running
        finally:
            _tm("down", "--data", directory)


def _tm(*words: str, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    command = [sys.executable, "-m", "trainmaster.cli", *words]
    env = os.environ | dict(environment)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env).stdout


def _wait(condition: Callable[[], T | None], timeout_s: float) -> T:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"the platform did not get there within {timeout_s:g} s")
        time.sleep(POLL_S)
    return value
