"""What a trial of one rank says to its agent, and what it makes of the answers."""

import math
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainmaster as tm
from tests.sdk.conftest import ROOT
from tests.sdk.fake_agent import FakeAgent

HELD_S = 0.3


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    """An agent whose only rank is this process."""
    with FakeAgent(tmp_path) as started:
        monkeypatch.setenv("TM_SOCKET", started.path)
        monkeypatch.setenv("RANK", "0")
        yield started


def resume_from(directory: Path, step: int) -> dict[str, Any]:
    return {"checkpoint_id": "c-1", "step": step, "directory": str(directory / "checkpoints" / f"step-{step}")}


def test_a_trial_says_hello_and_bye(agent: FakeAgent) -> None:
    with tm.trial() as trial:
        assert list(trial.steps()) == [1, 2, 3, 4, 5]
    assert agent.wait_for("hello")[0]["rank"] == 0
    assert agent.wait_for("bye") == [{"type": "bye", "outcome": "completed", "step": 5}]


def test_the_assignment_overrides_the_scripts_defaults(agent: FakeAgent) -> None:
    with tm.trial(hyperparameters={"lr": 1.0, "model": {"width": 8}}, max_length=99) as trial:
        assert trial.hyperparameters == {"lr": 0.01, "model": {"width": 8}}
        assert trial.hyperparameters.model.width == 8
        assert (trial.id, trial.seed, trial.max_steps) == ("trial-1", 7, 5)
        with pytest.raises(AttributeError, match='no hyperparameter "depth"; there are: lr, model'):
            _ = trial.hyperparameters.depth


def test_training_metrics_arrive_in_batches_complete_and_in_order(agent: FakeAgent) -> None:
    with tm.trial() as trial:
        for step in range(250):
            trial.report(step, loss=step / 2)
    agent.wait_for("bye")
    batches = [frame["points"] for frame in agent.of_type("metrics")]
    assert max(len(batch) for batch in batches) <= 100
    assert [(step, metrics) for batch in batches for step, _, metrics in batch] == [
        (step, {"loss": step / 2}) for step in range(250)
    ]


def test_a_script_names_groups_of_metrics_with_steps_of_their_own(agent: FakeAgent) -> None:
    with tm.trial() as trial:
        for step in range(3):
            trial.report(step, loss=1.0)
            trial.report("gradients", 10 * step, norm=step, step=step)
        for wrong in ("validation", "system", "run", "Gradients", "", "a" * 64):
            with pytest.raises(ValueError, match="cannot name a group of metrics"):
                trial.report(wrong, 1, norm=1.0)
    agent.wait_for("bye")
    of_group = [frame for frame in agent.of_type("metrics") if frame.get("group") == "gradients"]
    assert [(step, found) for frame in of_group for step, _, found in frame["points"]] == [
        (10 * step, {"norm": step, "step": step}) for step in range(3)
    ]


def test_a_single_training_point_arrives_soon(agent: FakeAgent) -> None:
    with tm.trial() as trial:
        trial.report(1, loss=0.5)
        assert agent.wait_for("metrics")[0]["points"][0][2] == {"loss": 0.5}


def test_a_validation_arrives_at_once_and_after_the_training_points_before_it(agent: FakeAgent) -> None:
    with tm.trial() as trial:
        trial.report(3, loss=0.5)
        trial.report_validation(3, accuracy=np.float32(0.75), loss=torch.tensor([2.0]), count=3)
        (validation,) = agent.wait_for("validation")
        assert validation == {"type": "validation", "step": 3, "metrics": {"accuracy": 0.75, "loss": 2.0, "count": 3.0}}
        assert [frame["type"] for _, frame in agent.frames] == ["hello", "metrics", "validation"]


@pytest.mark.parametrize("value", ["0.5", None, [0.5], torch.zeros(2), np.zeros((2, 2)), 1j])
def test_what_is_not_a_number_is_refused_by_name(agent: FakeAgent, value: object) -> None:
    with tm.trial() as trial, pytest.raises(TypeError, match='metric "accuracy" must be one number'):
        trial.report_validation(1, accuracy=value)


def test_what_is_not_finite_is_said_once_and_left_to_the_agent_where_it_is_a_validation(
    agent: FakeAgent, capfd: pytest.CaptureFixture[str]
) -> None:
    with tm.trial() as trial:
        trial.report_validation(1, accuracy=0.5, loss=float("nan"))
        trial.report_validation(2, loss=float("inf"))
        trial.report(3, loss=torch.tensor(float("-inf")))
    agent.wait_for("bye")
    validations = [frame["metrics"] for frame in agent.of_type("validation")]
    assert validations == [{"accuracy": 0.5, "loss": pytest.approx(math.nan, nan_ok=True)}, {"loss": math.inf}]
    assert agent.of_type("metrics") in ([], [{"type": "metrics", "points": []}])
    assert capfd.readouterr().err.count('metric "loss" is nan at step 1') == 1


def test_only_rank_0_reports(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with tm.trial() as trial:
        trial.report(1, loss=1.0)
        trial.report_validation(1, loss=1.0)
    agent.wait_for("bye", rank=1)
    assert [frame["type"] for _, frame in agent.frames] == ["hello", "bye"]


def test_a_stop_ends_the_loop_between_two_steps_after_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    with FakeAgent(tmp_path, max_length=None) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            for step in trial.steps(resume=torch.nn.Linear(2, 1)):
                if step == 2:
                    agent.stop()
            assert trial.is_stopped
        assert agent.wait_for("bye") == [{"type": "bye", "outcome": "preempted", "step": step}]
    assert [frame["step"] for frame in agent.of_type("checkpoint")] == [step]
    assert step >= 2


def test_a_trial_resumes_what_it_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    old_model, old_optimizer = torch.nn.Linear(2, 1), torch.optim.SGD([torch.zeros(1)], lr=0.5)
    with FakeAgent(tmp_path) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            trial.checkpoint({"model": old_model, "optimizer": old_optimizer}, 3, best=0.9)
            expected = torch.rand(3), random.random()
    (tmp_path / "agent.sock").unlink()

    model, optimizer = torch.nn.Linear(2, 1), torch.optim.SGD([torch.zeros(1)], lr=0.1)
    with FakeAgent(tmp_path, resume=resume_from(tmp_path, 3)) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            assert trial.steps_completed == 3
            steps = trial.steps(resume={"model": model, "optimizer": optimizer})
            assert next(steps) == 4
            assert torch.equal(torch.rand(3), expected[0])
            assert random.random() == expected[1]
            assert list(steps) == [5]
            assert list(trial.steps()) == []
    assert trial.restored_state == {"best": 0.9}
    assert torch.equal(model.weight, old_model.weight)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_checkpoint_of_another_trial_is_a_warm_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    trained = torch.nn.Linear(2, 1)
    told: dict[str, Any] = {
        "checkpoint_policy": "best",
        "metric": "loss",
        "max_length": {"unit": "records", "count": 8},
    }
    with FakeAgent(tmp_path, **told) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            trial.global_batch_size = 1
            for step in trial.steps(resume=trained):
                trial.report_validation(step, loss=0.1)
        agent.wait_for("bye")
        (saved,) = agent.of_type("checkpoint")
    (tmp_path / "agent.sock").unlink()

    begun = resume_from(tmp_path, saved["step"]) | {"is_warm_start": True}
    model = torch.nn.Linear(2, 1)
    drawn = []
    with FakeAgent(tmp_path, **told, seed=8, resume=begun) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            trial.global_batch_size = 4
            assert (trial.steps_completed, trial.max_steps) == (0, 2)
            for step in trial.steps(resume=model):
                drawn.append(random.random())
                assert torch.equal(model.weight, trained.weight)
                trial.report_validation(step, loss=0.5 / step)
            assert (trial.steps_completed, trial.records_completed) == (2, 8)
        agent.wait_for("bye")
        assert [frame["step"] for frame in agent.of_type("checkpoint")] == [1, 2], (
            "the other trial's best is not its own"
        )
    random.seed(8)
    assert drawn[0] == random.random(), "the random numbers are the trial's own"


@pytest.mark.parametrize("said_by_the_script", [None, 10])
def test_the_file_says_how_many_records_an_epoch_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said_by_the_script: int | None
) -> None:
    length = {"unit": "epochs", "count": 3}
    with FakeAgent(tmp_path, max_length=length, records_per_epoch=100) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            trial.steps_per_epoch = said_by_the_script
            trial.global_batch_size = 16
            assert (trial.steps_per_epoch, trial.max_steps) == (7, 21)


def test_a_trial_that_resumes_must_say_into_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    state = tmp_path / "checkpoints" / "step-3"
    state.mkdir(parents=True)
    torch.save({"step": 3, "extra_state": {}, "states": {"weight": 1.0}}, state / "state.pt")
    with FakeAgent(tmp_path, resume=resume_from(tmp_path, 3)) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial, pytest.raises(ValueError, match="starts from checkpoint c-1 of step 3"):
            next(trial.steps())


def test_a_step_is_saved_once(agent: FakeAgent) -> None:
    with tm.trial() as trial:
        trial.checkpoint(torch.nn.Linear(1, 1), 1)
        trial.checkpoint(torch.nn.Linear(1, 1), 1)
    agent.wait_for("bye")
    (saved,) = agent.of_type("checkpoint")
    assert sorted(path.name for path in Path(saved["directory"]).iterdir()) == ["rng-rank-0.pt", "state.pt"]
    assert saved["zero_stage"] is None


def test_a_checkpoint_waits_until_the_one_before_is_stored(agent: FakeAgent) -> None:
    agent.stores_at_once = False
    model = torch.nn.Linear(1, 1)
    with tm.trial() as trial:
        trial.checkpoint(model, 1)
        second = threading.Thread(target=trial.checkpoint, args=(model, 2))
        second.start()
        agent.wait_for("checkpoint", count=1)
        second.join(HELD_S)
        assert second.is_alive()
        assert len(agent.of_type("checkpoint")) == 1
        agent.send(0, {"type": "checkpoint_stored", "step": 1})
        agent.wait_for("checkpoint", count=2)
        second.join()


def test_only_what_can_be_saved_is_accepted(agent: FakeAgent) -> None:
    with tm.trial() as trial, pytest.raises(TypeError, match="cannot checkpoint a int"):
        trial.checkpoint(3, 1)


def test_an_exception_propagates_without_a_farewell(agent: FakeAgent) -> None:
    with pytest.raises(ZeroDivisionError), tm.trial() as trial:  # noqa: PT012  # the block is what is tested
        trial.report(1, loss=0.25)
        trial.report(1, loss=1 / 0)
    assert agent.wait_for("metrics")[0]["points"][0][2] == {"loss": 0.25}
    assert agent.of_type("bye") == []


def test_a_rank_ends_when_its_agent_is_gone(tmp_path: Path) -> None:
    script = "import threading, trainmaster as tm\nwith tm.trial() as t: threading.Event().wait()"
    with FakeAgent(tmp_path) as agent:
        environment = {"TM_SOCKET": agent.path, "RANK": "0", "PYTHONPATH": str(ROOT)}
        rank = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
        agent.wait_for("hello")
        agent.hang_up(0)
        _, errors = rank.communicate(timeout=30)
    assert rank.returncode == 1
    assert (
        errors == "trainmaster: the agent has closed the connection; nobody supervises this process, so it ends now\n"
    )


def test_an_agent_that_talks_nonsense_is_left(tmp_path: Path) -> None:
    script = "import threading, trainmaster as tm\nwith tm.trial() as t: threading.Event().wait()"
    with FakeAgent(tmp_path) as agent:
        environment = {"TM_SOCKET": agent.path, "RANK": "0", "PYTHONPATH": str(ROOT)}
        rank = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
        agent.wait_for("hello")
        agent.send(0, [1, 2, 3])  # type: ignore[arg-type]
        _, errors = rank.communicate(timeout=30)
    assert rank.returncode == 1
    assert "the thread trainmaster-reader failed" in errors


def test_importing_trainmaster_imports_nothing_heavy() -> None:
    script = (
        "import sys, trainmaster; print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    )
    printed = subprocess.check_output([sys.executable, "-S", "-c", script], env={"PYTHONPATH": str(ROOT)}, text=True)
    assert set(printed.split()) == {"__main__", "trainmaster"}


@pytest.mark.parametrize("may_continue", [False, True])
def test_a_trial_that_may_continue_later_saves_at_its_target(
    tmp_path: Path, *, may_continue: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeAgent(tmp_path, may_continue=may_continue) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        monkeypatch.setenv("RANK", "0")
        with tm.trial() as trial:
            for _ in trial.steps(resume=torch.nn.Linear(2, 1)):
                pass
        assert not trial.is_stopped
        agent.wait_for("bye")
        assert [frame["step"] for frame in agent.of_type("checkpoint")] == ([5] if may_continue else [])


def test_a_stored_checkpoint_is_answered_to_nobody_when_the_trial_has_ended(tmp_path: Path) -> None:
    """A thread of the test's agent used to fail here under load, which pytest warned of in some test or other."""
    with FakeAgent(tmp_path) as agent:
        agent._remember(0, {"type": "checkpoint", "step": 3})
    assert agent.of_type("checkpoint") == [{"type": "checkpoint", "step": 3}]


@pytest.mark.parametrize("launched_by", ["plain", "torch"])
def test_extra_state_alone_can_be_saved_and_resumed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched_by: str
) -> None:
    if launched_by == "torch":
        monkeypatch.setenv("RANK", "0")
    with FakeAgent(tmp_path) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            trial.checkpoint(None, 3, model=[1, 2])
        agent.wait_for("bye")
    (tmp_path / "agent.sock").unlink()
    with FakeAgent(tmp_path, resume=resume_from(tmp_path, 3)) as agent:
        monkeypatch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            assert list(trial.steps()) == [4, 5]
            assert trial.restored_state == {"model": [1, 2]}


@pytest.mark.parametrize(("policy", "saved"), [("none", []), ("best", [1, 2, 4]), ("all", [1, 2, 3, 4, 5])])
def test_checkpoints_follow_validations_as_the_policy_says(tmp_path: Path, policy: str, saved: list[int]) -> None:
    values = [0.5, 0.4, 0.4, 0.3, 0.9]
    with FakeAgent(tmp_path, checkpoint_policy=policy, metric="loss") as agent, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TM_SOCKET", agent.path)
        with tm.trial() as trial:
            for step in trial.steps(resume=torch.nn.Linear(1, 1)):
                trial.report_validation(step, loss=torch.tensor(values[step - 1]), accuracy=step)
        agent.wait_for("bye")
    assert [frame["step"] for frame in agent.of_type("checkpoint")] == saved


def test_the_best_validation_so_far_outlives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {1: 0.7, 2: 0.6, 3: 0.9, 4: 0.8, 5: 0.95}
    policy = {"checkpoint_policy": "best", "metric": "accuracy", "smaller_is_better": False}
    for resume, until, saved in ((None, 3, [1, 3]), (3, 5, [5])):
        welcome: dict[str, Any] = policy | {"max_length": {"unit": "batches", "count": until}}
        with FakeAgent(tmp_path, **welcome, resume=resume and resume_from(tmp_path, resume)) as agent:
            monkeypatch.setenv("TM_SOCKET", agent.path)
            with tm.trial() as trial:
                for step in trial.steps(resume=torch.nn.Linear(1, 1)):
                    trial.report_validation(step, accuracy=values[step])
            agent.wait_for("bye")
        (tmp_path / "agent.sock").unlink()
        assert [frame["step"] for frame in agent.of_type("checkpoint")] == saved


def test_a_trial_says_that_it_is_alive(agent: FakeAgent) -> None:
    with tm.trial() as trial:
        for step in trial.steps():
            if step == 2:
                agent.wait_for("progress")
        trial.heartbeat()
        agent.wait_for("progress", count=2)
    assert agent.of_type("progress")[0]["step"] in (1, 2)
    assert agent.of_type("progress")[-1]["step"] == 5
