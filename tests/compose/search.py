"""The digits search on a deployment, and what one waits for meanwhile."""

from collections.abc import Collection
from http import HTTPStatus
from typing import Any

import httpx

from tests.compose.deployment import NUM_AGENTS, Deployment, measure
from tests.compose.engine import ROOT
from trainmaster.client import ApiError, Client, Unreachable

DIGITS = ROOT / "examples" / "digits"
NUM_TRIALS = 12


def client(deployment: Deployment) -> Client:
    """The API, as the administrator sees it."""
    return Client(deployment.url, deployment.admin_token())


def begin_search(platform: Client) -> str:
    """Submit the digits search; return when two of its trials run."""
    experiment = str(platform.submit(DIGITS / "search.yaml", DIGITS)["id"])
    measure(lambda: running_trials(platform, experiment) == 2, lambda: list(platform.trials(experiment)), 120)
    return experiment


def end_search(platform: Client, experiment: str) -> None:
    """Wait for the search's end: each of its trials completed, and was closed once."""
    measure(lambda: state(platform, experiment) == "COMPLETED", lambda: state(platform, experiment), 600)
    assert [trial["state"] for trial in platform.trials(experiment)] == ["COMPLETED"] * NUM_TRIALS
    assert len(platform.events({"experiment": experiment, "name": "TrialClosed"})["items"]) == NUM_TRIALS


def state(platform: Client, experiment: str) -> str:
    """The experiment's state, or that nobody can say."""
    try:
        return str(platform.experiment(experiment)["state"])
    except (ApiError, Unreachable):
        return "not reachable"


def running_trials(platform: Client, experiment: str) -> int:
    """How many of its trials train."""
    return sum(trial["state"] == "RUNNING" for trial in platform.trials(experiment))


def is_ready(platform: Client, killed: str = "", before: Collection[str] = ()) -> bool:
    """Everything answers and all agents are up that have not left; one that was killed, as a new incarnation."""
    try:
        if httpx.get(f"{platform.url}/readyz").status_code != HTTPStatus.OK:
            return False
        agents = platform.agents()
    except (ApiError, Unreachable, httpx.HTTPError):
        return False
    num_new = sum(agent["incarnation"] not in before for agent in agents)
    is_agent = killed.startswith("agent")
    states = [agent["state"] for agent in agents if agent["state"] != "LEFT"]
    return states == ["UP"] * NUM_AGENTS and (not before or num_new == is_agent)


def shown(platform: Client) -> list[Any]:
    """All experiments and trials of the read model."""
    experiments = list(platform.experiments())
    return [experiments, *(list(platform.trials(experiment["id"])) for experiment in experiments)]


def kept_bytes(platform: Client) -> int:
    """Read every file of every checkpoint that is said to be there, each of its size; return their sizes' sum."""
    num_bytes = 0
    for experiment in platform.experiments():
        for checkpoint in platform.checkpoints(experiment_id=experiment["id"]):
            for file in checkpoint["files"] if checkpoint["state"] == "ACTIVE" else ():
                content = b"".join(platform.checkpoint_file(checkpoint["id"], file["path"]))
                assert len(content) == file["size_bytes"], (checkpoint["id"], file)
                num_bytes += len(content)
    return num_bytes
