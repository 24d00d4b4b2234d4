"""The deployment on a real engine: a search over two agents while every container is killed, then a restore.

It takes minutes, builds images and may start an engine of its own, so it runs only where TM_TEST_COMPOSE=1 asks:

    TM_TEST_COMPOSE=1 ./tm test tests/compose -s
"""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose.engine import ROOT, Deployment, NoEngine, engine, measure
from trainmaster.client import ApiError, Client, Unreachable

NUM_AGENTS = 2
SERVERS = ("nats", "postgres", "minio", "proxy", "gateway", "scheduler", "searcher", "tracker", "agent-1", "agent-2")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.environ.get("TM_TEST_COMPOSE") != "1", reason="takes minutes; TM_TEST_COMPOSE=1 asks for it"),
]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    try:
        with engine() as found:
            deployment = Deployment(engine=found, scratch=tmp_path_factory.mktemp("compose"))
            deployment.write_settings()
            try:
                note("build", timed(lambda: deployment.compose("build", "--quiet")))
                up(deployment)
                note("up, until all are healthy", deployment.wait_healthy(num_agents=NUM_AGENTS))
                deployment.trust()
                yield deployment
            finally:
                deployment.compose("down", "--volumes")
    except NoEngine as error:
        pytest.skip(str(error))


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
    rotate = ("python", "-P", "-m", "trainmaster.compose", "rotate")
    deployment.compose("run", "--rm", "prepare", *rotate, "nats", "s3", "admin", "certificates", "postgres")
    deployment.compose("down")
    deployment.engine.docker("volume", "rm", f"{deployment.project}_postgres")
    up(deployment)
    note("rotated: until all are healthy", deployment.wait_healthy(num_agents=NUM_AGENTS))
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
        note("engine started: all are healthy", deployment.wait_healthy(num_agents=NUM_AGENTS))
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
    note("restored: up", timed(lambda: up(deployment)))
    note("restored: until all are healthy", deployment.wait_healthy(num_agents=NUM_AGENTS))
    deployment.trust()
    with client(deployment) as platform:
        measure(lambda: shown(platform) == before, lambda: (shown(platform), before), 60)
        [checkpoint, *_] = platform.checkpoints(experiment_id=next(platform.experiments())["id"])
        content = b"".join(platform.checkpoint_file(checkpoint["id"], checkpoint["files"][0]["path"]))
        assert len(content) == checkpoint["files"][0]["size_bytes"]


def test_more_agents_get_users_of_their_own(deployment: Deployment) -> None:
    settings = deployment.scratch / "env"
    settings.write_text(settings.read_text() + f"TM_AGENTS={NUM_AGENTS + 1}\n")
    deployment.compose("up", "--detach", "--no-build", "--scale", f"agent={NUM_AGENTS + 1}")
    deployment.compose("kill", "-s", "HUP", "nats")
    note("one more agent: all are healthy", deployment.wait_healthy(num_agents=NUM_AGENTS + 1))
    with client(deployment) as platform:
        assert [agent["id"] for agent in platform.agents() if agent["state"] == "UP"] == [
            "agent-1",
            "agent-2",
            "agent-3",
        ]


def up(deployment: Deployment) -> None:
    deployment.compose("up", "--detach", "--no-build", "--scale", f"agent={NUM_AGENTS}")


def client(deployment: Deployment) -> Client:
    return Client(deployment.url, deployment.admin_token())


def shown(platform: Client) -> list[Any]:
    experiments = list(platform.experiments())
    return [experiments, *(list(platform.trials(experiment["id"])) for experiment in experiments)]


def state(platform: Client, experiment: str) -> str:
    try:
        return str(platform.experiment(experiment)["state"])
    except (ApiError, Unreachable):
        return "not reachable"


def begin_search(platform: Client) -> str:
    """Submit the digits search; return when two of its trials run."""
    experiment = platform.submit(ROOT / "examples/digits/search.yaml", ROOT / "examples/digits")["id"]
    measure(lambda: running_trials(platform, experiment) == 2, lambda: list(platform.trials(experiment)), 120)
    return experiment


def end_search(platform: Client, experiment: str) -> None:
    """Wait for the search's end: each of its twelve trials completed, and was closed once."""
    measure(lambda: state(platform, experiment) == "COMPLETED", lambda: state(platform, experiment), 600)
    assert [trial["state"] for trial in platform.trials(experiment)] == ["COMPLETED"] * 12
    assert len(platform.events({"experiment": experiment, "name": "TrialClosed"})["items"]) == 12


def kill(deployment: Deployment, platform: Client, name: str) -> None:
    """Kill a container and wait until the platform has recovered."""
    num_restarts = deployment.containers()[name]["RestartCount"]
    incarnations = {agent["incarnation"] for agent in platform.agents()}
    deployment.kill(name)
    healthy_s = deployment.wait_restarted(name, num_restarts)
    ready_s = healthy_s + measure(lambda: is_ready(platform, name, incarnations), platform.agents, 120)
    note(f"{name} killed: the container is healthy after {healthy_s:.1f} s, the platform ready", ready_s)


def is_ready(platform: Client, killed: str = "", before: Collection[str] = ()) -> bool:
    """Everything answers and both agents are up; an agent that was killed, as another incarnation."""
    try:
        if httpx.get(f"{platform.url}/readyz").status_code != HTTPStatus.OK:
            return False
        agents = platform.agents()
    except (ApiError, Unreachable, httpx.HTTPError):
        return False
    num_new = sum(agent["incarnation"] not in before for agent in agents)
    return [agent["state"] for agent in agents] == ["UP"] * NUM_AGENTS and (not before or num_new == is_agent(killed))


def is_agent(name: str) -> bool:
    return name.startswith("agent")


def running_trials(platform: Client, experiment: str) -> int:
    return sum(trial["state"] == "RUNNING" for trial in platform.trials(experiment))


def timed(action: Any) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def note(what: str, seconds: float) -> None:
    print(f"MEASURED {what}: {seconds:.1f} s", flush=True)  # noqa: T201 # what the run is for
