"""What needs no platform: the table of commands, exit codes, validation, the errors a person meets first."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from trainmaster.cli.app import COMMANDS, tm

GOOD = """
name: good
entrypoint: python train.py
searcher: {name: random, metric: loss, max_trials: 2}
hyperparameters: {lr: {type: log, minval: -4, maxval: -1, base: 10}}
"""
BAD = """
name: bad
entrypoint: python train.py
searcher: {name: random, metric: loss, max_trails: 2}
resources: {slots_per_trial: -1}
"""


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here finds a platform by accident."""
    monkeypatch.setenv("TM_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("TM_URL", raising=False)
    monkeypatch.delenv("TM_PROG", raising=False)


def run(*words: str) -> Result:
    return CliRunner().invoke(tm, words, prog_name="tm")


def test_every_command_of_the_table_exists_and_explains_itself() -> None:
    for name in COMMANDS:
        assert run(name, "--help").exit_code == 0, name


def test_the_table_says_the_same_as_the_commands() -> None:
    with click.Context(tm) as context:
        commands = {name: tm.get_command(context, name) for name in tm.list_commands(context)}
    assert all(command is not None and command.name == name for name, command in commands.items())


def test_every_command_prints_json_but_those_that_stay_or_run_others() -> None:
    without = {" ".join(words) for words, command in _leaves(tm, ()) if not _prints_json(command)}
    assert without == {"agent run", "check", "test"}  # an agent's log; what ruff, mypy and pytest print


def _leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that does something, with its words; each benchmark has a table of its own."""
    if not isinstance(command, click.Group):
        yield words, command
    elif words != ("bench",):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from _leaves(found, (*words, name))


def _prints_json(command: click.Command) -> bool:
    return any("--json" in option.opts for option in command.params)


def test_a_typing_mistake_is_answered_with_the_nearest_command() -> None:
    result = run("submti")
    assert result.exit_code == 2
    assert "did you mean `tm submit`?" in result.stderr


def test_a_valid_file_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    assert run("validate", str(file)).exit_code == 0
    answer = json.loads(run("validate", str(file), "--json").stdout)
    assert answer["valid"] is True
    assert answer["config"]["max_restarts"] == 5


def test_every_mistake_is_named_with_its_path_and_a_suggestion(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    result = run("validate", str(file))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "searcher.max_trails" in result.stderr
    assert "did you mean max_trials?" in result.stderr
    assert "resources.slots_per_trial" in result.stderr


def test_mistakes_as_json(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    result = run("validate", str(file), "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["valid"] is False
    assert {"searcher.max_trails", "resources.slots_per_trial"} <= {error["path"] for error in answer["errors"]}


def test_submit_tells_mistakes_before_it_looks_for_a_platform(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    result = run("submit", str(file))
    assert result.exit_code == 1
    assert "did you mean max_trials?" in result.stderr


@pytest.mark.parametrize("words", [("ls",), ("status",), ("queue",), ("tap",), ("show", "abc"), ("rebuild",)])
def test_without_a_platform_a_command_says_how_to_start_one(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert "tm up" in result.stderr


def test_down_without_a_platform_is_no_failure() -> None:
    result = run("down")
    assert result.exit_code == 0
    assert "no platform runs" in result.stdout
    assert json.loads(run("down", "--json").stdout)["stopped"] is False


def test_a_platform_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_URL", "http://127.0.0.1:9")
    result = run("ls")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9 does not answer" in result.stderr


@pytest.mark.parametrize("slots", ["bogus", "cpu:0", "cpu:", "cpu:99999"])
def test_slots_that_cannot_be_offered_are_refused_before_anything_starts(slots: str, tmp_path: Path) -> None:
    for words in (("up", "--slots", slots), ("up", "--slots", slots, "--detach")):
        result = run(*words)
        assert result.exit_code == 2
        assert repr(slots) in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has a GPU")
def test_gpus_are_not_promised_where_there_are_none() -> None:
    result = run("up", "--slots", "cuda")
    assert result.exit_code == 2
    assert "use cpu:N" in result.stderr


def test_hints_are_written_as_tm_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TM_PROG", "./tm")
    assert "Start one with: ./tm up --detach\n" in run("ls").stderr
    monkeypatch.delenv("TM_DATA")
    other = tmp_path / "other place"
    assert f"./tm up --detach --data '{other}'\n" in run("ls", "--data", str(other)).stderr


def test_submit_and_validate_tell_mistakes_alike(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    assert run("submit", str(file)).stderr == run("validate", str(file)).stderr


def test_an_event_that_does_not_exist_is_answered_with_the_nearest() -> None:
    result = run("tap", "--name", "GpuAlocated")
    assert result.exit_code == 2
    assert "did you mean GPUAllocated?" in result.stderr


@pytest.mark.parametrize(
    "words",
    [("tap", "--since", "yesterday"), ("tap", "--since", "25:00"), ("tap", "--after", "-1"), ("bench", "nothing")],
)
def test_a_wrong_option_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


def test_the_benchmarks_are_listed() -> None:
    assert "first_step" in run("bench").stdout.splitlines()


def test_a_preview_is_printed_by_a_process_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    assert run("preview", str(file), "--seed", "3", "--trend", "constant", "--json").exit_code == 0
    assert len(json.loads(capfd.readouterr().out)["trials"]) == 2


def test_simulate_runs_the_scheduler_as_a_program(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("agents: none")
    assert run("simulate", str(file)).exit_code == 1
    assert run("simulate", str(tmp_path / "missing.yaml")).exit_code == 2
