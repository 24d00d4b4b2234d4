"""Every command against a running platform: what it prints, its JSON, its exit code."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform, run_tm

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


def test_as_of_shows_what_was_then(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    events = _lines(platform, "tap", "--after", "0", "--no-follow", "--json", "--experiment", finished["id"])
    submitted, first = events[0], next(event for event in events if event["name"] == "TrialClosed")
    assert finished["id"] not in [found["id"] for found in _json(platform, "ls", "--as-of", str(submitted["seq"] - 1))]
    then = _json(platform, "show", finished["id"], "--as-of", str(submitted["seq"]))
    assert (then["experiment"]["state"], then["trials"]) == ("ACTIVE", [])
    trials = _json(platform, "show", finished["id"], "--as-of", str(first["seq"]))["trials"]
    assert [trial["id"] for trial in trials if trial["state"] == "COMPLETED"] == [first["event"]["trial_id"]]
    told = platform.tm("show", first["event"]["trial_id"], "--as-of", str(first["seq"]))
    assert told.returncode == 0 and "COMPLETED" in told.stdout and f"as of event {first['seq']}" in told.stderr
    assert _json(platform, "agents", "--as-of", "0") == [] and _json(platform, "queue", "--as-of", "1d") == []
    assert _json(platform, "checkpoint", "ls", finished["id"], "--as-of", "0s") is not None
    refused = platform.tm("ls", "--as-of", "99999999999")
    assert refused.returncode == 1 and "the log ends with event" in refused.stderr


def test_diff_tells_what_came_and_changed(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    events = _lines(platform, "tap", "--after", "0", "--no-follow", "--json", "--experiment", finished["id"])
    begin, end = events[0]["seq"], events[-1]["seq"]
    parts = {part["kind"]: part for part in _json(platform, "diff", str(begin), str(end))["parts"]}
    assert parts["trials"]["num_came"] == 2 and parts["experiments"]["num_changed"] == 1
    told = platform.tm("diff", str(begin), str(end), "-n", "1").stdout
    assert f"~ {finished['id']} (command test): state ACTIVE → COMPLETED" in told
    assert "trials: 2 came" in told and "… 1 more came" in told
    assert platform.tm("diff", str(end), str(begin)).returncode == 1


def test_show_one_trial(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    assert _json(platform, "show", f"{finished['id']}-1")["index"] == 1


def test_a_trial_is_shown_with_its_attempts_and_metrics(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    shown = platform.tm("show", f"{finished['id']}-1").stdout
    assert {"ATTEMPT", "VALIDATION", "started", "agents"} <= set(shown.split())
    assert "0.25 at step 1" in shown


def test_metrics_are_written_to_the_terminal_or_a_file(
    platform: RunningPlatform, finished: dict[str, Any], tmp_path: Path
) -> None:
    header, *lines = platform.tm("metrics", f"{finished['id']}-1", "--group", "validation").stdout.splitlines()
    assert header == "trial_id,group,name,epoch,step,time,value,archived"
    assert [line.split(",")[:5] for line in lines] == [[f"{finished['id']}-1", "validation", "loss", "1", "1"]]
    file = tmp_path / "metrics.parquet"
    assert str(file) in platform.tm("metrics", finished["id"][:6], "-o", str(file)).stdout
    table = parquet.read_table(file)
    assert {f"{finished['id']}-1", f"{finished['id']}-2"} == set(table.column("trial_id").to_pylist())
    told = _json(platform, "metrics", finished["id"], "-o", str(file))
    assert told == {"file": str(file), "format": "parquet", "size_bytes": file.stat().st_size}
    (point,) = _lines(platform, "metrics", f"{finished['id']}-1", "--group", "validation", "--json")
    assert (point["trial_id"], point["name"], point["step"], point["value"]) == (f"{finished['id']}-1", "loss", 1, 0.25)
    refused = platform.tm("metrics", finished["id"], "--format", "csv", "--json")
    assert refused.returncode == 2 and "--format csv" in refused.stderr


def test_tensorboards_files_are_told_as_json(
    platform: RunningPlatform, finished: dict[str, Any], tmp_path: Path
) -> None:
    told = _json(platform, "tensorboard", finished["id"], "--no-serve", "-o", str(tmp_path))
    assert told["num_trials"] == 2 and told["num_points"] >= 2
    written = {path.parts[-2] for path in Path(told["directory"]).rglob("events.out.tfevents*")}
    assert written == {f"{finished['id']}-1", f"{finished['id']}-2"}


def test_a_page_is_opened_as_json(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    told = _json(platform, "open", finished["id"][:6], "--print")
    assert told["opened"] is False
    assert told["url"].startswith(f"{platform.url}/#/login/") and told["url"].endswith(f"/experiments/{finished['id']}")


def test_the_best_value_stands_beside_its_step(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    header = platform.tm("show", finished["id"]).stdout.splitlines()[3]
    assert header.split()[:5] == ["TRIAL", "STATE", "STEP", "BEST", "AT"]


def test_submit_says_how_to_follow(platform: RunningPlatform, tmp_path: Path) -> None:
    code = _code(tmp_path, EXPERIMENT, SCRIPT)
    told = platform.tm("submit", str(code / "search.yaml")).stdout
    id_ = told.split()[1]
    assert f"{platform.url}/#/experiments/{id_}" in told
    assert f"tm logs -f {id_}-1" in told


def test_a_metric_that_nobody_reports_is_warned_of(platform: RunningPlatform, tmp_path: Path) -> None:
    code = _code(tmp_path, EXPERIMENT.replace("metric: loss", "metric: accuracy"), SCRIPT)
    done = platform.tm("submit", str(code / "search.yaml"), "--follow")
    warning = "WARNING: no trial reported a validation of accuracy; they reported: loss"
    assert warning in done.stderr
    shown = platform.tm("show", done.stdout.splitlines()[1].split()[0])
    assert shown.returncode == 0
    assert warning in shown.stderr


def test_ids_of_the_wrong_kind_are_answered_helpfully(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    trial = f"{finished['id']}-1"
    for words, sentence in (
        (("logs", finished["id"]), "is not a trial"),
        (("show", f"{trial}-a1-s1"), f"its trial is {trial}"),
        (("pause", trial), "is not an experiment"),
        (("checkpoint", "download", trial), f"tm checkpoint ls {trial}"),
        (("tap", "--experiment", "nosuch", "--no-follow"), "nosuch"),
    ):
        refused = platform.tm(*words)
        assert refused.returncode == 1
        assert sentence in refused.stderr


def test_a_reader_that_has_seen_enough_is_no_error(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    tap = f"{sys.executable} -P -m trainmaster.cli tap --after 0 --no-follow --data {shlex.quote(str(platform.data))}"
    words = ("bash", "-c", f"{tap} | (read -r line; exec 0<&-); echo ${{PIPESTATUS[0]}}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() in {"0", "141"}
    assert done.stderr == ""


def test_logs(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    trial = f"{finished['id']}-1"
    assert "hello from the script" in platform.tm("logs", trial).stdout
    assert "hello from the script" in platform.tm("logs", "-f", trial).stdout


def test_why_begins_with_the_submission_and_ends_with_the_exit(
    platform: RunningPlatform, finished: dict[str, Any]
) -> None:
    told = _json(platform, "why", f"{finished['id']}-1")
    names = [event["name"] for event in told["chain"]]
    wanted = ["ExperimentSubmitted", "TrialRequested", "GPUAllocated", "TrialStarted", "TrialExited"]
    assert [name for name in names if name in wanted] == wanted
    topics = {one["topic"]: one["detail"] for one in told["explanations"]}
    assert topics["hyperparameters"] == {"kind": "grid point", "number": 1, "of": 2}
    assert topics["placement"]["rule"] == "one agent"


def test_why_answers_for_trials_experiments_and_agents_in_a_hundred_columns(
    platform: RunningPlatform, finished: dict[str, Any]
) -> None:
    for what, first in (
        (f"{finished['id']}-1", f"trial {finished['id']}-1  COMPLETED"),
        (finished["id"][:6], f"experiment {finished['id']}  COMPLETED"),
        ("local", "agent local  UP"),
    ):
        lines = platform.tm("why", what).stdout.splitlines()
        assert lines[0] == first
        assert lines[1].startswith("It is ")
        assert all(len(line) <= 100 for line in lines), lines
        assert any(line.startswith("How it came there") for line in lines)
    unknown = platform.tm("why", "nobody")
    assert (unknown.returncode, "nobody" in unknown.stderr) == (1, True)


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
    eventually_sync(lambda: _json(platform, "queue") == [])  # an earlier test may have left trials to run
    status = _json(platform, "status")
    processes = {process["name"]: process["pss_bytes"] for process in status["processes"]}
    assert {"supervisor", "nats", "postgres", "s3", "gateway", "worker-local"} <= processes.keys()
    assert all(num_bytes > 0 for num_bytes in processes.values())
    assert "memory together" in platform.tm("status").stdout


def test_status_tells_what_was_set_aside(platform: RunningPlatform) -> None:
    seq = platform.publish("worker-local", "metrics.local.nobody-1", b"no metrics")

    def known() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = _json(platform, "status")["set_aside"]["items"]
        return [item for item in items if item["seq"] == seq]

    (item,) = eventually_sync(known)
    assert (item["stream"], item["subject"], item["size_bytes"]) == ("METRICS", "metrics.local.nobody-1", 10)
    assert item["reason"].startswith("DecodeError") or "Expected" in item["reason"]
    assert "metrics.local.nobody-1" in platform.tm("status").stdout


def test_status_is_told_to_who_may_look_in_one_workspace_only(platform: RunningPlatform) -> None:
    platform.tm("user", "create", "grace", "--service", "--role", "viewer", "--workspace", "compilers")
    token = _json(platform, "token", "create", "looks", "--user", "grace")["token"]
    known = {"TM_URL": platform.url, "TM_TOKEN": token}
    told = run_tm("status", "--json", env=known)
    assert told.returncode == 0, told.stderr
    status = json.loads(told.stdout)
    assert status["set_aside"] is None and status["agents"]
    assert run_tm("status", env=known).returncode == 0


def test_only_a_platform_of_this_machine_is_rebuilt(platform: RunningPlatform, tmp_path: Path) -> None:
    elsewhere = {"TM_URL": platform.url, "TM_TOKEN": platform.token, "TM_DATA": str(tmp_path)}
    refused = run_tm("rebuild", env=elsewhere)
    assert refused.returncode == 1
    assert f"{platform.url} is no platform of {tmp_path}" in refused.stderr


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


def test_a_team_files_its_experiments(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    one = finished["id"]
    platform.tm("workspace", "create", "vision", "--description", "what sees")
    platform.tm("project", "create", "vision", "digits")
    assert "is moved" in platform.tm("move", one, "--workspace", "vision", "--project", "digits").stdout
    assert "digits" in platform.tm("project", "ls", "vision").stdout
    assert _json(platform, "workspace", "ls")[0]["experiments"] == 1
    platform.tm("label", one, "--add", "good")
    platform.tm("note", one, "worth another look", "--name", "renamed")
    shown = _json(platform, "show", one)["experiment"]
    assert shown["labels"][-1] == "good" and shown["notes"] == "worth another look" and shown["name"] == "renamed"
    assert "archived" in platform.tm("archive", one).stdout
    assert one not in platform.tm("ls").stdout
    again = platform.tm("archive", one)
    assert again.returncode == 1 and "archived already" in again.stderr
    platform.tm("unarchive", one)
    forked = _json(platform, "fork", one, "--set", "searcher.max_concurrent_trials=1", "--name", "again")
    assert forked["forked_from"] == one and forked["project"] == "digits" and forked["name"] == "again"
    platform.tm("cancel", forked["id"])
    platform.tm("note", one, "", "--name", finished["name"])


def test_the_read_model_is_rebuilt_from_the_log(platform: RunningPlatform, finished: dict[str, Any]) -> None:
    before = _json(platform, "show", finished["id"])
    rebuilt = platform.tm("rebuild")
    assert rebuilt.returncode == 0
    assert len(rebuilt.stdout.splitlines()) == 1
    assert rebuilt.stderr == ""
    assert _json(platform, "show", finished["id"]) == before
    told = _json(platform, "rebuild")
    assert told["last_seq"] > 0 and told["duration_s"] > 0
    assert _json(platform, "show", finished["id"]) == before


def _code(directory: Path, experiment: str, script: str) -> Path:
    (directory / "search.yaml").write_text(experiment)
    (directory / "train.py").write_text(script)
    return directory


def _json(platform: RunningPlatform, *words: str) -> Any:
    done = platform.tm(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _lines(platform: RunningPlatform, *words: str) -> list[dict[str, Any]]:
    done = platform.tm(*words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
