"""Running scripts as ranks of a trial: real processes, a real rendezvous store, the test as the agent."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Torch's store looks up the name of everybody who connects. Without this, a slow name server slows the tests.
os.environ["RES_OPTIONS"] = "attempts:0"
import torch.distributed

from tests.sdk.fake_agent import FakeAgent

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
START_TIMEOUT_S = 90.0


class Warm:
    """The process that forks ranks; see tests/sdk/warm.py."""

    def __init__(self) -> None:
        environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sdk.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )
        assert self._answer() == "ready"

    def start(self, script: Path, output: Path, environments: list[dict[str, str]]) -> "Gang":
        """Start the ranks of a gang."""
        assert self._process.stdin
        request = {"script": str(script), "output": str(output), "environments": environments}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Gang(output, lambda: json.loads(self._answer()))

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=START_TIMEOUT_S)

    def _answer(self) -> str:
        assert self._process.stdout
        assert select.select([self._process.stdout], [], [], START_TIMEOUT_S)[0], "the ranks do not end"
        return self._process.stdout.readline().strip()


class Gang:
    """Ranks that run."""

    def __init__(self, output: Path, join: Callable[[], list[int]]) -> None:
        self._output = output
        self.join = join

    @property
    def output(self) -> str:
        """What the ranks have printed."""
        return self._output.read_text()


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A process that has imported torch and DeepSpeed."""
    started = Warm()
    yield started
    started.close()


Start = Callable[..., Gang]


@pytest.fixture
def start_gang(warm: Warm, tmp_path: Path) -> Iterator[Start]:
    """Start the ranks of a trial under an agent, or alone: start(script, agent, num_ranks)."""
    stores = []

    def start(script: Path, agent: FakeAgent | None, num_ranks: int = 1, **environment: str) -> Gang:
        store: Any = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        stores.append(store)
        shared = environment | {
            "WORLD_SIZE": str(num_ranks),
            "LOCAL_WORLD_SIZE": str(num_ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        if agent:
            shared["TM_SOCKET"] = agent.path
        ranks = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_ranks)]
        return warm.start(script, tmp_path / f"output-{len(stores)}", ranks)

    yield start
    stores.clear()


@pytest.fixture
def scripts() -> Path:
    """Where the test's training scripts are."""
    return SCRIPTS
