"""The object store's disk fills up on a real engine: a search waits for room, and ends as any other.

As test_engine.py it takes minutes and runs only where `./tm test --compose` asks for it.
"""

from collections.abc import Iterator

import pytest

from tests.compose.deployment import Deployment, measure, note, running, timed
from tests.compose.engine import OFFLINE, Engine, Images, only_where_asked_for
from tests.compose.search import begin_search, client, end_search, state
from trainmaster.client import Client

only_where_asked_for()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def deployment(docker: tuple[Engine, Images], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    found, images = docker
    small, scratch = OFFLINE / "small-disk.yaml", tmp_path_factory.mktemp("full")
    with running(Deployment(engine=found, images=images, scratch=scratch, overlays=(small,))) as up:
        yield up


def test_a_full_disk_of_the_object_store_holds_a_search_up_and_loses_nothing(deployment: Deployment) -> None:
    with client(deployment) as platform:
        experiment = begin_search(platform)
        store = deployment.containers()["minio"]["Id"]
        fill = "dd if=/dev/zero of=/var/lib/minio/ballast bs=1M count=300 2>/dev/null; df /var/lib/minio | tail -1"
        assert "100%" in deployment.engine.docker("exec", store, "sh", "-c", fill)
        measure(lambda: has_waited(platform, experiment), lambda: list(platform.trials(experiment)), 300)
        assert state(platform, experiment) == "ACTIVE"
        deployment.engine.docker("exec", store, "rm", "/var/lib/minio/ballast")
        note("disk has room again: the search has ended", timed(lambda: end_search(platform, experiment)))


def has_waited(platform: Client, experiment: str) -> bool:
    """Whether a trial has told that it waits for the store."""
    lines = [line for trial in platform.trials(experiment) for line in platform.logs(trial["id"], follow=False)]
    return any("object store" in str(line) for line in lines)
