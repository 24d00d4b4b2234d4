"""Three brokers and hot standbys on a real engine, and an object store whose disk fills up: searches end all the same.

As test_engine.py it takes minutes and runs only where TM_TEST_COMPOSE=1 asks for it.
"""

import os
from collections.abc import Iterator

import pytest

from tests.compose.engine import DEPLOYMENT, OFFLINE, Deployment, NoEngine, engine, measure
from tests.compose.test_engine import (
    NUM_AGENTS,
    begin_search,
    client,
    end_search,
    is_ready,
    note,
    state,
    timed,
    up,
)
from trainmaster.client import Client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.environ.get("TM_TEST_COMPOSE") != "1", reason="takes minutes; TM_TEST_COMPOSE=1 asks for it"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    overlays = (DEPLOYMENT / "compose.cluster.yaml", OFFLINE / "small-disk.yaml")
    try:
        with engine() as found:
            deployment = Deployment(engine=found, scratch=tmp_path_factory.mktemp("cluster"), overlays=overlays)
            deployment.write_settings()
            try:
                deployment.compose("build", "--quiet")
                up(deployment)
                note("cluster: up, until all are healthy", deployment.wait_healthy(num_agents=NUM_AGENTS))
                deployment.trust()
                yield deployment
            finally:
                deployment.compose("down", "--volumes")
    except NoEngine as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("node", ["nats", "nats-2", "nats-3"])
def test_a_search_goes_on_while_one_of_three_brokers_is_away(cluster: Deployment, node: str) -> None:
    with client(cluster) as platform:
        measure(lambda: is_ready(platform), platform.agents, 120)
        experiment = begin_search(platform)
        cluster.compose("stop", node)
        note(f"{node} stopped: next trial completed", next_trial(platform, experiment))
        end_search(platform, experiment)
        cluster.compose("start", node)
        note(f"{node} started: all are healthy", cluster.wait_healthy(num_agents=NUM_AGENTS))


@pytest.mark.parametrize("service", ["scheduler", "searcher"])
def test_a_standby_goes_on_where_the_active_one_was_stopped(cluster: Deployment, service: str) -> None:
    with client(cluster) as platform:
        experiment = begin_search(platform)
        for name in (service, f"{service}-2"):
            cluster.compose("stop", name)
            note(f"{name} stopped: next trial completed", next_trial(platform, experiment))
            cluster.compose("start", name)
        end_search(platform, experiment)


def test_a_full_disk_of_the_object_store_holds_a_search_up_and_loses_nothing(cluster: Deployment) -> None:
    with client(cluster) as platform:
        experiment = begin_search(platform)
        store = cluster.containers()["minio"]["Id"]
        fill = "dd if=/dev/zero of=/var/lib/minio/ballast bs=1M count=100 2>/dev/null; df /var/lib/minio | tail -1"
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
    return measure(lambda: num_completed() > before or before == 12, num_completed, 120)


def has_waited(platform: Client, experiment: str) -> bool:
    """Whether a trial has told that it waits for the store."""
    lines = [line for trial in platform.trials(experiment) for line in platform.logs(trial["id"], follow=False)]
    return any("object store" in str(line) for line in lines)
