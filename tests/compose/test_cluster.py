"""Three brokers and hot standbys on a real engine: a search goes on without one, and secrets and backups cover all.

As test_engine.py it takes minutes and runs only where `./tm test --compose` asks for it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.deployment import CLUSTER, ROTATE, Deployment, measure, note, running, timed
from tests.compose.engine import Engine, Images, only_where_asked_for
from tests.compose.search import NUM_TRIALS, begin_search, client, end_search, is_ready, kept_bytes, shown
from trainmaster.client import Client

only_where_asked_for()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cluster(docker: tuple[Engine, Images], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    found, images = docker
    scratch = tmp_path_factory.mktemp("cluster")
    with running(Deployment(engine=found, images=images, scratch=scratch, overlays=(CLUSTER,))) as up:
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


def test_rotated_secrets_are_those_of_all_three_brokers(cluster: Deployment) -> None:
    cluster.compose("run", "--rm", "prepare", *ROTATE, "nats", "certificates")
    cluster.compose("down")
    cluster.up()
    note("rotated: until all are healthy", cluster.wait_healthy())
    with client(cluster) as platform:
        measure(lambda: is_ready(platform), platform.agents, 120)
        end_search(platform, begin_search(platform))


def test_a_restored_cluster_is_the_one_that_was_backed_up(cluster: Deployment, tmp_path: Path) -> None:
    with client(cluster) as platform:
        before = shown(platform)
    note("backup.sh", timed(lambda: cluster.script("backup.sh", tmp_path / "backup")))
    assert {"nats.tar", "nats-2.tar", "nats-3.tar"} < {path.name for path in (tmp_path / "backup").iterdir()}
    cluster.compose("down", "--volumes")
    note("restore.sh", timed(lambda: cluster.script("restore.sh", tmp_path / "backup")))
    cluster.up()
    note("restored: until all are healthy", cluster.wait_healthy())
    cluster.trust()
    with client(cluster) as platform:
        measure(lambda: shown(platform) == before, lambda: (shown(platform), before), 60)
        assert kept_bytes(platform) > 0


def next_trial(platform: Client, experiment: str) -> float:
    """Return after how many seconds one more trial has completed than now."""

    def num_completed() -> int:
        return sum(trial["state"] == "COMPLETED" for trial in platform.trials(experiment))

    before = num_completed()
    return measure(lambda: num_completed() > before or before == NUM_TRIALS, num_completed, 120)
