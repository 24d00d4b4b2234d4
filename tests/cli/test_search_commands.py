"""A live search against a running platform: a trial canceled, limits changed, a goal reached, all of it replayed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform

pytestmark = pytest.mark.timeout(300)

EXPERIMENT = """
name: live search
entrypoint: python train.py
searcher: {name: random, metric: loss, max_trials: 2, max_concurrent_trials: 1, goal: 0.5}
hyperparameters: {x: {type: double, minval: 0, maxval: 1}}
"""
SCRIPT = """
import pathlib
import time

import trainmaster as tm

with tm.trial() as trial:
    for step in trial.steps():
        trial.report_validation(step, loss=0.25 if pathlib.Path({flag!r}).exists() else 1.0)
        time.sleep(0.05)
"""
START_S = 60.0


def trials(platform: RunningPlatform, experiment: str) -> dict[int, str]:
    """The state of each trial."""
    shown: dict[str, Any] = json.loads(platform.tm("show", experiment, "--json").stdout)
    return {trial["index"]: trial["state"] for trial in shown["trials"]}


def state(platform: RunningPlatform, experiment: str) -> str:
    """The state of an experiment."""
    return str(json.loads(platform.tm("show", experiment, "--json").stdout)["experiment"]["state"])


def test_a_live_search_is_changed_ends_at_its_goal_and_is_replayed(platform: RunningPlatform, tmp_path: Path) -> None:
    flag, code = tmp_path / "good", tmp_path / "code"
    code.mkdir()
    (code / "search.yaml").write_text(EXPERIMENT)
    (code / "train.py").write_text(SCRIPT.format(flag=str(flag)))
    experiment = platform.tm("submit", str(code / "search.yaml")).stdout.split()[1]
    eventually_sync(lambda: trials(platform, experiment) == {1: "RUNNING"}, timeout_s=START_S)

    assert platform.tm("cancel", f"{experiment}-1").stdout == f"{experiment}-1 is canceled\n"
    eventually_sync(lambda: trials(platform, experiment) == {1: "CANCELED", 2: "RUNNING"}, timeout_s=START_S)
    again = platform.tm("cancel", f"{experiment}-1")
    assert again.returncode == 1 and "it is CANCELED" in again.stderr

    changed = platform.tm("change", experiment, "--max-trials", "4", "--max-concurrent-trials", "2", "--json")
    assert json.loads(changed.stdout)["searcher"]["max_trials"] == 4
    both = {1: "CANCELED", 2: "RUNNING", 3: "RUNNING"}
    eventually_sync(lambda: trials(platform, experiment) == both, timeout_s=START_S)

    flag.touch()
    eventually_sync(lambda: state(platform, experiment) == "COMPLETED", timeout_s=START_S)
    shown = json.loads(platform.tm("show", experiment, "--json").stdout)
    assert "reached the goal: loss 0.25, of 0.5 asked for" in shown["experiment"]["reason"]
    assert [trial["index"] for trial in shown["trials"]] == [1, 2, 3], "no trial was requested any more"
    refused = platform.tm("change", experiment, "--max-trials", "9")
    assert refused.returncode == 1 and "it has completed" in refused.stderr

    replayed = platform.tm("search", "replay", experiment)
    assert replayed.returncode == 0, replayed.stderr
    assert "are reproduced, byte for byte" in replayed.stdout
    exported = tmp_path / "log.jsonl"
    assert platform.tm("export", "--to", str(exported)).returncode == 0
    found = json.loads(platform.tm("search", "replay", experiment, "--log", str(exported), "--json").stdout)
    assert found["num_reproduced"] == found["num_decisions"] > 5
    assert found["first_difference"] is None


def test_a_search_that_is_not_on_the_log_is_not_reproduced(platform: RunningPlatform, tmp_path: Path) -> None:
    empty = tmp_path / "log.jsonl"
    empty.touch()
    done = platform.tm("search", "replay", "nothing", "--log", str(empty))
    assert done.returncode == 1
    assert "the log holds no decision about experiment nothing" in done.stdout


def test_the_queue_and_the_search_are_changed_one_after_the_other(platform: RunningPlatform) -> None:
    done = platform.tm("change", "anything", "--priority", "3", "--max-trials", "9")
    assert done.returncode == 2
    assert "one after the other" in done.stderr


def test_a_time_metric_that_nobody_reports_is_warned_of(platform: RunningPlatform, tmp_path: Path) -> None:
    searcher = "{name: asha, metric: loss, max_trials: 1, num_rungs: 2, max_time: 8, time_metric: epochs}"
    (tmp_path / "search.yaml").write_text(f"entrypoint: python train.py\nsearcher: {searcher}\n")
    script = "import trainmaster as tm\nwith tm.trial() as trial:\n    trial.report_validation(1, loss=0.5)\n"
    (tmp_path / "train.py").write_text(script)
    done = platform.tm("submit", str(tmp_path / "search.yaml"), "--follow")
    assert done.returncode == 0, done.stderr
    shown = platform.tm("show", done.stdout.splitlines()[1].split()[0])
    assert "WARNING: no trial reported the time_metric epochs, so none is stopped; they reported: loss" in shown.stderr
    reason = platform.tm("show", f"{done.stdout.splitlines()[1].split()[0]}-1", "--json").stdout
    assert "it never reported its time_metric epochs" in reason


LADDER = """
name: ladder
entrypoint: python train.py
searcher:
  {name: asha, metric: loss, max_trials: 3, max_concurrent_trials: 1, num_rungs: 2, divisor: 3, MEASURE,
   points_to_evaluate: [{loss: 0.5}, {loss: -1.0}, {loss: 0.7}]}
hyperparameters: {loss: {type: double, minval: -1, maxval: 1}}
resources: {slots_per_trial: 1}
"""
DIVERGING = """
import trainmaster as tm

class Steps:
    taken = 0
    def state_dict(self): return {"taken": self.taken}
    def load_state_dict(self, state): self.taken = state["taken"]

steps = Steps()
with tm.trial() as trial:
    for step in trial.steps(resume=steps):
        steps.taken += 1
        assert steps.taken == step, "it goes on from its checkpoint"
        loss = trial.hyperparameters.loss
        has_diverged = loss < 0 and step > 1
        trial.report_validation(step, loss=float("nan") if has_diverged else loss / step)
    trial.checkpoint(steps, trial.steps_completed)
"""


@pytest.mark.parametrize(
    ("measure", "first"),
    [("max_length: {batches: 9}", "stopped at rung 1 of 2, 3 units: place 3 of 3, 1 went on"),
     ("max_time: 9, time_metric: batches", "stopped at rung 1 of 2, 3 units: place 2 of 2 so far, 1 went on")],
)  # fmt: skip
def test_a_trial_that_diverges_is_the_worst_at_its_rung(
    platform: RunningPlatform, tmp_path: Path, measure: str, first: str
) -> None:
    """Trial 2 has the best loss of all until its second step, and none from then on."""
    (tmp_path / "search.yaml").write_text(LADDER.replace("MEASURE", measure))
    (tmp_path / "train.py").write_text(DIVERGING)
    experiment = platform.tm("submit", str(tmp_path / "search.yaml")).stdout.split()[1]
    eventually_sync(lambda: state(platform, experiment) == "COMPLETED", timeout_s=3 * START_S)
    shown = json.loads(platform.tm("show", experiment, "--json").stdout)
    reasons = {trial["index"]: trial["reason"] for trial in shown["trials"]}
    assert reasons[1] == "reached the last rung, 9 units"
    assert reasons[2] == first
    assert reasons[3].startswith("stopped at rung 1 of 2, 3 units: place ")
    assert {trial["index"]: trial["step"] for trial in shown["trials"]}[1] == 9
    replayed = platform.tm("search", "replay", experiment)
    assert replayed.returncode == 0, replayed.stdout
