"""Every command against a running platform: what it prints, its JSON, its exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform

pytestmark = pytest.mark.timeout(300)

EXPERIMENT = """
name: command test
entrypoint: python train.py
searcher: {name: grid, metric: loss}
hyperparameters: {x: {type: categorical, vals: [0.25, 0.5]}}
"""
SCRIPT = """
import pathlib

import trainmaster as tm

with tm.trial() as trial:
    print("hello from the script")
    trial.report_validation(1, loss=trial.hyperparameters["x"])
"""
CRASHING = "raise ValueError('broken on purpose')"


@pytest.fixture(scope="module")
def finished(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An experiment that has run to its end, as `tm submit --follow --json` prints it."""
    code = _code(tmp_path_factory.mktemp("code"), EXPERIMENT, SCRIPT)
    done = platform.tm("submit", str(code / "search.yaml"), "--follow", "--json")
    assert done.returncode == 0, done.stderr
    experiment: dict[str, Any] = json.loads(done.stdout)
    return experiment


def test_submit_follows_to_the_end_and_tells_on_stderr(finished: dict[str, Any]) -> None:
    assert finished["state"] == "COMPLETED"
    assert finished["trials"]["completed"] == 2
    assert finished["best"]["metric"] == 0.25


def test_ls_and_show(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    assert finished["id"] in [experiment["id"] for experiment in _json(platform, "ls")]
    shown = _json(platform, "show", finished["id"][:6])
    assert shown["experiment"]["id"] == finished["id"]
    assert [trial["state"] for trial in shown["trials"]] == ["COMPLETED", "COMPLETED"]
    assert finished["id"] in platform.tm("ls").stdout
    assert f"{finished['id']}-2" in platform.tm("show", finished["id"]).stdout


def test_show_one_trial(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    assert _json(platform, "show", f"{finished['id']}-1")["index"] == 1


def test_logs(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    trial = f"{finished['id']}-1"
    assert "hello from the script" in platform.tm("logs", trial).stdout
    assert "hello from the script" in platform.tm("logs", "-f", trial).stdout


def test_why_begins_with_the_submission_and_ends_with_the_exit(
    platform: RunningPlatform, finished: dict[str, Any]
) -> None:
    names = [event["name"] for event in _json(platform, "why", f"{finished['id']}-1")["chain"]]
    wanted = ["ExperimentSubmitted", "TrialRequested", "GPUAllocated", "TrialStarted", "TrialExited"]
    assert [name for name in names if name in wanted] == wanted


def test_tap_reads_from_any_point_and_filters(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    words = ("tap", "--after", "0", "--no-follow", "--json")
    everything = _lines(platform, *words, "--experiment", finished["id"])
    requested = _lines(platform, *words, "--experiment", finished["id"], "--name", "TrialRequested")
    assert [event["seq"] for event in everything] == sorted(event["seq"] for event in everything)
    assert [event["aggregate_id"] for event in requested] == [finished["id"]] * 2
    assert {event["writer"] for event in _lines(platform, *words, "--writer", "scheduler")} == {"scheduler"}
    later = _lines(platform, "tap", "--after", str(everything[0]["seq"]), "--no-follow", "--json")
    assert all(event["seq"] > everything[0]["seq"] for event in later)


def test_agents_queue_and_status(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    (agent,) = _json(platform, "agents")
    assert (agent["id"], agent["state"], len(agent["slots"])) == ("local", "UP", 2)
    assert _json(platform, "queue") == []
    status = _json(platform, "status")
    processes = {process["name"]: process["pss_bytes"] for process in status["processes"]}
    assert {"supervisor", "nats", "postgres", "s3", "gateway", "worker-local"} <= processes.keys()
    assert all(num_bytes > 0 for num_bytes in processes.values())
    assert "memory together" in platform.tm("status").stdout


def test_an_experiment_that_is_over_cannot_be_paused(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    refused = platform.tm("pause", finished["id"])
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: ")


def test_what_does_not_exist_is_said_in_one_sentence(platform: RunningPlatform) -> None:
    for words in (("show", "nosuch"), ("logs", "nosuch-1"), ("checkpoint", "download", "nosuch-1-a1-s1")):
        failed = platform.tm(*words)
        assert failed.returncode == 1
        assert "Traceback" not in failed.stderr
        assert len(failed.stderr.splitlines()) == 1


def test_a_crashing_script_shows_its_traceback_and_fails(platform: RunningPlatform, tmp_path: Path) -> None:
    code = _code(tmp_path, EXPERIMENT + "max_restarts: 1\n", CRASHING)
    done = platform.tm("submit", str(code / "search.yaml"), "--follow", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "FAILED"
    trial = f"{json.loads(done.stdout)['id']}-1"
    assert "ValueError: broken on purpose" in platform.tm("logs", trial).stdout
    assert _json(platform, "show", trial)["restarts"] == 1


def test_the_read_model_is_rebuilt_from_the_log(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    before = _json(platform, "show", finished["id"])
    assert platform.tm("rebuild").returncode == 0
    eventually_sync(lambda: _shown(platform, finished["id"]) == before, timeout_s=30)


def _code(directory: Path, experiment: str, script: str) -> Path:
    (directory / "search.yaml").write_text(experiment)
    (directory / "train.py").write_text(script)
    return directory


def _shown(platform: RunningPlatform, experiment_id: str) -> Any:
    done = platform.tm("show", experiment_id, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else None


def _json(platform: RunningPlatform, *words: str) -> Any:
    done = platform.tm(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _lines(platform: RunningPlatform, *words: str) -> list[dict[str, Any]]:
    done = platform.tm(*words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
