"""Three brokers and hot standbys on a real engine, and an object store whose disk fills up: searches end all the same.

As test_engine.py it takes minutes and runs only where `./tm test --compose` asks for it.
"""

from collections.abc import Iterator

import pytest

from tests.compose.deployment import CLUSTER, Deployment, measure, note, running, timed
from tests.compose.engine import OFFLINE, Engine, Images, only_where_asked_for
from tests.compose.search import NUM_TRIALS, begin_search, client, end_search, is_ready, state
from trainmaster.client import Client

only_where_asked_for()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cluster(docker: tuple[Engine, Images], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    found, images = docker
    overlays = (CLUSTER, OFFLINE / "small-disk.yaml")
    scratch = tmp_path_factory.mktemp("cluster")
    with running(Deployment(engine=found, images=images, scratch=scratch, overlays=overlays)) as up:
        yield up


@pytest.mark.parametrize("node", ["nats", "nats-2", "nats-3"])
def test_a_search_goes_on_while_one_of_three_brokers_is_away(cluster: Deployment, node: str) -> None:
    with client(cluster) as platform:
        measure(lambda: is_ready(platform), platform.agents, 120)
        experiment = begin_search(platform)
        cluster.compose("stop", node)
        note(f"{node} stopped: next trial completed", next_trial(platform, experiment))
        end_search(platform, experiment)
        cluster.compose("start", node)
        note(f"{node} started: all are healthy", cluster.wait_healthy())


@pytest.mark.parametrize("service", ["scheduler", "searcher"])
def test_a_standby_goes_on_where_the_active_one_was_killed(cluster: Deployment, service: str) -> None:
    with client(cluster) as platform:
        experiment = begin_search(platform)
        for name in (service, f"{service}-2"):
            cluster.compose("kill", name)
            note(f"{name} killed: next trial completed", next_trial(platform, experiment))
            cluster.compose("start", name)
        end_search(platform, experiment)


def test_a_full_disk_of_the_object_store_holds_a_search_up_and_loses_nothing(cluster: Deployment) -> None:
    with client(cluster) as platform:
        experiment = begin_search(platform)
        store = cluster.containers()["minio"]["Id"]
        fill = "dd if=/dev/zero of=/var/lib/minio/ballast bs=1M count=300 2>/dev/null; df /var/lib/minio | tail -1"
        assert "100%" in cluster.engine.docker("exec", store, "sh", "-c", fill)
        measure(lambda: has_waited(platform, experiment), lambda: list(platform.trials(experiment)), 300)
        assert state(platform, experiment) == "RUNNING"
        cluster.engine.docker("exec", store, "rm", "/var/lib/minio/ballast")
        note("disk has room again: the search has ended", timed(lambda: end_search(platform, experiment)))


def next_trial(platform: Client, experiment: str) -> float:
    """Return after how many seconds one more trial has completed than now."""

    def num_completed() -> int:
        return sum(trial["state"] == "COMPLETED" for trial in platform.trials(experiment))

    before = num_completed()
    return measure(lambda: num_completed() > before or before == NUM_TRIALS, num_completed, 120)


def has_waited(platform: Client, experiment: str) -> bool:
    """Whether a trial has told that it waits for the store."""
    lines = [line for trial in platform.trials(experiment) for line in platform.logs(trial["id"], follow=False)]
    return any("object store" in str(line) for line in lines)
