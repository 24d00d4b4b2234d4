"""An older deployment's volumes under this one's images, while a search runs.

The older one is the commit that TM_UPGRADE_FROM names, else the newest tag. As test_engine.py it takes minutes and runs
only where `./tm test --compose` asks for it.
"""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose.deployment import Deployment, measure, note, running, timed
from tests.compose.engine import DEPLOYMENT, ROOT, Engine, Images, only_where_asked_for
from tests.compose.search import DIGITS, client, end_search, state

only_where_asked_for()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def older(docker: tuple[Engine, Images], tmp_path: Path) -> Iterator[Deployment]:
    found, images = docker
    folder = tmp_path / "older" / "deploy" / "compose"
    unpack(older_commit(), tmp_path / "older")
    deployment = Deployment(engine=found, images=images, scratch=tmp_path, folder=folder)
    deployment.set(TM_VERSION="older")
    note("build of the older one", timed(lambda: deployment.compose("build", "--quiet")))
    with running(deployment):
        yield deployment


def older_commit() -> str:
    describe = subprocess.run(("git", "describe", "--tags", "--abbrev=0"), cwd=ROOT, capture_output=True, text=True)
    named = os.environ.get("TM_UPGRADE_FROM") or describe.stdout.strip()
    if not named:
        pytest.skip("there is no tag, and TM_UPGRADE_FROM names no commit to upgrade from")
    return named


def unpack(commit: str, folder: Path) -> None:
    """Write a commit's files. Raises CalledProcessError."""
    with subprocess.Popen(("git", "archive", commit), cwd=ROOT, stdout=subprocess.PIPE) as packing:
        assert packing.stdout is not None
        with tarfile.open(fileobj=packing.stdout, mode="r|") as archive:
            archive.extractall(folder, filter="data")
    assert packing.returncode == 0


def test_an_upgrade_keeps_what_was_and_what_runs_goes_on(older: Deployment) -> None:
    with client(older) as platform:
        finished = str(platform.submit(DIGITS / "search.yaml", DIGITS)["id"])
        measure(lambda: state(platform, finished) == "COMPLETED", lambda: state(platform, finished), 600)
        goes_on = str(platform.submit(DIGITS / "search.yaml", DIGITS)["id"])
    measure(lambda: any(trial["state"] == "RUNNING" for trial in trials(older, goes_on)), older.containers, 120)
    before = trials(older, finished)
    older.folder = DEPLOYMENT
    older.write_settings()
    note("upgrade: up", timed(older.up))
    note("upgrade: until all are healthy", older.wait_healthy())
    measure(lambda: results(trials(older, finished)) == results(before), lambda: trials(older, finished), 60)
    with client(older) as platform:
        end_search(platform, goes_on)


def trials(deployment: Deployment, experiment: str) -> list[dict[str, Any]]:
    """An experiment's trials, asked for in the way that both versions know: this one's client may say more."""
    token = {"Authorization": f"Bearer {deployment.admin_token()}"}
    answer = httpx.get(f"{deployment.url}/api/v1/experiments/{experiment}/trials", headers=token)
    return list(answer.raise_for_status().json()["items"])


def results(shown: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What became of trials."""
    return [(trial["id"], trial["state"], trial["metric"], trial["hyperparameters"]) for trial in shown]
