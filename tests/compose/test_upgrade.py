"""An older deployment's volumes under this one's images, while a search runs.

The older one is the commit that TM_UPGRADE_FROM names, else the newest tag. As test_engine.py it takes minutes and runs
only where `./tm test --compose` asks for it.
"""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.deployment import Deployment, note, running, timed
from tests.compose.engine import DEPLOYMENT, ROOT, Engine, Images, only_where_asked_for
from tests.compose.search import begin_search, client, end_search

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
        end_search(platform, begin_search(platform))
        done = {trial["id"]: trial["metric"] for trial in platform.trials(next(platform.experiments())["id"])}
        running_on = begin_search(platform)
    older.folder = DEPLOYMENT
    older.write_settings()
    note("upgrade: up", timed(older.up))
    note("upgrade: until all are healthy", older.wait_healthy())
    with client(older) as platform:
        first = [e["id"] for e in platform.experiments() if e["id"] != running_on]
        assert {trial["id"]: trial["metric"] for trial in platform.trials(first[0])} == done
        end_search(platform, running_on)
