"""The deployment on a real engine: a search over two agents while every container is killed, then a restore.

It takes minutes, builds images and may start an engine of its own, so it runs only where it is asked for:

    ./tm test --compose
"""

import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from tests.compose.deployment import ROTATE, Deployment, measure, note, running, timed
from tests.compose.engine import ROOT, Engine, Images, only_where_asked_for
from tests.compose.search import begin_search, client, end_search, is_ready, kept_bytes, shown, state
from trainmaster.client import Client

SERVERS = ("nats", "postgres", "minio", "proxy", "gateway", "scheduler", "searcher", "tracker", "agent-1", "agent-2")

only_where_asked_for()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def deployment(docker: tuple[Engine, Images], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    found, images = docker
    with running(Deployment(engine=found, images=images, scratch=tmp_path_factory.mktemp("compose"))) as up:
        yield up


def test_a_machine_outside_joins_and_trains(deployment: Deployment, tmp_path: Path) -> None:
    text = (ROOT / "examples/digits/search.yaml").read_text()
    (tmp_path / "outside.yaml").write_text(
        text.replace("max_trials: 12", "max_trials: 1").replace(
            "slots_per_trial: 2", "slots_per_trial: 2\n  resource_pool: outside"
        )
    )
    tm = (sys.executable, "-P", "-m", "trainmaster.cli")
    with client(deployment) as platform:
        token = platform.access.invite_machine(None)["token"]
        place = ("--directory", str(tmp_path / "agent"), "--pool", "outside", "--slots", "cpu:2")
        with subprocess.Popen((*tm, "agent", "join", deployment.url, token, *place)) as agent:
            try:
                measure(lambda: "host-1" in [each["id"] for each in platform.agents()], platform.agents, 60)
                experiment = platform.submit(tmp_path / "outside.yaml", ROOT / "examples/digits")["id"]
                measure(lambda: state(platform, experiment) == "COMPLETED", lambda: state(platform, experiment), 180)
                assert platform.checkpoints(experiment_id=experiment)
            finally:
                agent.terminate()
        again = subprocess.run((*tm, "agent", "join", deployment.url, token), capture_output=True, text=True)
        assert again.returncode == 1 and "has admitted" in again.stderr


def test_secrets_are_rotated(deployment: Deployment) -> None:
    before = deployment.admin_token()
    deployment.compose("run", "--rm", "prepare", *ROTATE, "nats", "s3", "admin", "certificates", "postgres")
    deployment.compose("down")
    deployment.engine.docker("volume", "rm", f"{deployment.project}_postgres")
    deployment.up()
    note("rotated: until all are healthy", deployment.wait_healthy())
    assert deployment.admin_token() != before
    with client(deployment) as platform:
        measure(lambda: is_ready(platform), platform.agents, 120)
        end_search(platform, begin_search(platform))


def test_the_page_is_served_over_tls_alone(deployment: Deployment) -> None:
    assert httpx.get(f"{deployment.url}/").status_code == HTTPStatus.OK
    assert httpx.get(f"{deployment.url}/ca.crt").text == (deployment.scratch / "ca.crt").read_text()
    assert httpx.get(f"{deployment.url}/proxy/tls.key").status_code == HTTPStatus.NOT_FOUND
    assert httpx.get(f"http://127.0.0.1:{deployment.port}/").status_code == HTTPStatus.BAD_REQUEST


def test_a_search_over_two_agents_survives_the_death_of_every_container(deployment: Deployment) -> None:
    with client(deployment) as platform:
        measure(lambda: is_ready(platform), platform.agents, 120)
        experiment = begin_search(platform)
        for name in SERVERS:
            kill(deployment, platform, name)
        end_search(platform, experiment)


def test_trials_of_an_agent_whose_network_is_cut_go_again(deployment: Deployment) -> None:
    with client(deployment) as platform:
        experiment = begin_search(platform)
        cut = deployment.containers()["agent-2"]
        network = f"{deployment.project}_trainmaster"
        before = {agent["incarnation"] for agent in platform.agents()}
        deployment.engine.docker("network", "disconnect", network, cut["Id"])
        lost_s = measure(lambda: "LOST" in [agent["state"] for agent in platform.agents()], platform.agents, 60)
        note("network of an agent cut: it is lost", lost_s)
        deployment.engine.docker("network", "connect", network, cut["Id"])
        joined_s = measure(lambda: is_ready(platform, "agent-2", before), platform.agents, 120)
        note("network back: it has joined again", joined_s)
        end_search(platform, experiment)


def test_a_search_survives_the_restart_of_the_engine(deployment: Deployment) -> None:
    if deployment.engine.scratch is None:
        pytest.skip("the engine is not ours to restart")
    with client(deployment) as platform:
        experiment = begin_search(platform)
        note("engine stopped", timed(deployment.engine.stop))
        note("engine started", timed(deployment.engine.start))
        note("engine started: all are healthy", deployment.wait_healthy())
        note("engine started: the platform is ready", measure(lambda: is_ready(platform), platform.agents, 120))
        end_search(platform, experiment)


def test_a_gang_spans_two_agents(deployment: Deployment, tmp_path: Path) -> None:
    text = (ROOT / "examples/digits/search.yaml").read_text()
    wide = text.replace("slots_per_trial: 2", "slots_per_trial: 4").replace("max_trials: 12", "max_trials: 1")
    (tmp_path / "wide.yaml").write_text(wide)
    with client(deployment) as platform:
        experiment = platform.submit(tmp_path / "wide.yaml", ROOT / "examples/digits")["id"]
        measure(lambda: state(platform, experiment) == "COMPLETED", lambda: list(platform.trials(experiment)), 120)
        checkpoints = platform.checkpoints(experiment_id=experiment)
        assert {checkpoint["world_size"] for checkpoint in checkpoints} == {4}


def test_the_read_model_is_rebuilt_from_the_log(deployment: Deployment) -> None:
    with client(deployment) as platform:
        before = shown(platform)
        deployment.compose("run", "--rm", "tracker", "python", "-P", "-m", "services.tracker", "rebuild")
        measure(lambda: shown(platform) == before, lambda: (shown(platform), before), 60)


def test_a_restored_deployment_is_the_one_that_was_backed_up(deployment: Deployment, tmp_path: Path) -> None:
    """PostgreSQL's volume is not restored: the tracker folds the log again."""
    with client(deployment) as platform:
        before = shown(platform)
    note("backup.sh", timed(lambda: deployment.script("backup.sh", tmp_path / "backup")))
    deployment.compose("down", "--volumes")
    note("restore.sh", timed(lambda: deployment.script("restore.sh", tmp_path / "backup")))
    note("restored: up", timed(deployment.up))
    note("restored: until all are healthy", deployment.wait_healthy())
    deployment.trust()
    with client(deployment) as platform:
        measure(lambda: shown(platform) == before, lambda: (shown(platform), before), 60)
        assert kept_bytes(platform) > 0


def test_more_agents_get_users_of_their_own(deployment: Deployment) -> None:
    deployment.num_agents += 1
    deployment.set(TM_AGENTS=deployment.num_agents)
    deployment.up()
    deployment.compose("kill", "-s", "HUP", "nats")
    note("one more agent: all are healthy", deployment.wait_healthy())
    with client(deployment) as platform:
        up = [agent["id"] for agent in platform.agents() if agent["state"] == "UP"]
    assert up == ["agent-1", "agent-2", "agent-3"]


def kill(deployment: Deployment, platform: Client, name: str) -> None:
    """Kill a container and wait until the platform has recovered."""
    num_restarts = deployment.containers()[name]["RestartCount"]
    incarnations = {agent["incarnation"] for agent in platform.agents()}
    deployment.kill(name)
    healthy_s = deployment.wait_restarted(name, num_restarts)
    ready_s = healthy_s + measure(lambda: is_ready(platform, name, incarnations), platform.agents, 120)
    note(f"{name} killed: the container is healthy after {healthy_s:.1f} s, the platform ready", ready_s)
