"""Whole platforms: side by side, started again after any end, gone when they are down."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform, run_tm, start_platform, stop_platform
from trainmaster.client import Client
from trainmaster.embedded.directory import DataDirectory

pytestmark = pytest.mark.timeout(240)

RECOVERY_S = 60.0
PROCESSES = ("nats", "postgres", "s3", "gateway", "searcher", "scheduler", "tracker", "worker-local")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform that these tests may hurt."""
    running = start_platform(tmp_path_factory.mktemp("own"), "cpu:1")
    yield running
    stop_platform(running)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_killed_process_is_back_and_the_platform_ready(own: RunningPlatform, name: str) -> None:
    own.kill(name)
    eventually_sync(lambda: _is_ready(own.url), timeout_s=RECOVERY_S)


def test_a_second_up_on_the_same_directory_says_where_the_first_is(own: RunningPlatform) -> None:
    refused = run_tm("up", "--data", str(own.data))
    assert refused.returncode == 1
    assert f"already up at {own.url}" in refused.stderr


def test_two_platforms_run_side_by_side(own: RunningPlatform, tmp_path: Path) -> None:
    other = start_platform(tmp_path / "other", "cpu:1", "cpu:1")
    try:
        assert other.url != own.url
        eventually_sync(lambda: _agents(other) == ["local", "local-2"], timeout_s=RECOVERY_S)
        assert _is_ready(own.url)
    finally:
        stop_platform(other)


def test_down_leaves_no_process_and_up_goes_on_where_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = start_platform(data, "cpu:1")
    events = _last_seq(first)
    stop_platform(first)
    assert _processes_of(data) == []
    second = start_platform(data, "cpu:1")
    try:
        assert second.url == first.url
        assert _last_seq(second) > events
    finally:
        stop_platform(second)
    assert _processes_of(data) == []


def test_a_killed_supervisor_takes_everything_along_and_up_works_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    start_platform(data, "cpu:1")
    supervisor = DataDirectory(data).supervisor_pid()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    eventually_sync(lambda: _processes_of(data) == [], timeout_s=RECOVERY_S)
    stop_platform(start_platform(data, "cpu:1"))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _agents(platform: RunningPlatform) -> list[str]:
    with Client(platform.url, platform.token) as client:
        return [agent["id"] for agent in client.agents()]


def _last_seq(platform: RunningPlatform) -> int:
    with Client(platform.url, platform.token) as client:
        return client.status()["log"]["last_seq"]


def _processes_of(data: Path) -> list[str]:
    """Return the command lines of all processes that run in or know of the directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
            where = (process / "cwd").readlink()
        except OSError:
            continue
        if str(data).encode() in words + environment or where.is_relative_to(data):
            found.append(words.replace(b"\0", b" ").decode())
    return found
