"""tm run: a command on the cluster behaves as one that runs here."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform import RunningPlatform, run_tm
from trainmaster.client.upload import Upload

pytestmark = pytest.mark.timeout(180)

FOR_EVER = ("bash", "-c", "echo begun; exec sleep 600")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "words.txt").write_text("the code came along\n")
    return tmp_path


def test_output_and_exit_code_are_those_of_the_command(platform: RunningPlatform, code: Path) -> None:
    script = "cat words.txt; echo to stderr >&2; echo $COLOUR; exit 3"
    words = ("--env", "COLOUR=green", "--code", str(code), "--", "bash", "-c", script)
    ran = platform.tm("run", *words)
    assert ran.returncode == 3
    assert ran.stdout == "the code came along\ngreen\n"
    assert "to stderr\n" in ran.stderr
    assert "ended FAILED" in ran.stderr


def test_a_command_killed_by_a_signal_ends_as_in_a_shell(platform: RunningPlatform, code: Path) -> None:
    ran = platform.tm("run", "--code", str(code), "--json", "--", "bash", "-c", "kill -KILL $$")
    assert ran.returncode == 128 + signal.SIGKILL
    assert json.loads(ran.stdout)["exit_code"] == 128 + signal.SIGKILL


def test_a_detached_command_is_left_to_itself(platform: RunningPlatform, code: Path) -> None:
    ran = platform.tm("run", "--code", str(code), "--detach", "--", "cat", "words.txt")
    assert ran.returncode == 0
    trial = ran.stdout.strip()
    assert trial.endswith("-1")
    assert f"logs -f {trial}" in ran.stderr
    assert "the code came along" in platform.tm("logs", "-f", trial).stdout


def test_output_is_followed_of_a_trial_that_is_yet_to_begin(platform: RunningPlatform, code: Path) -> None:
    search = "{name: random, metric: loss, max_trials: 2, max_concurrent_trials: 1}"
    (code / "search.yaml").write_text(f"entrypoint: [cat, words.txt]\nsearcher: {search}\n")
    experiment = json.loads(platform.tm("submit", str(code / "search.yaml"), "--json").stdout)["id"]
    assert "the code came along" in platform.tm("logs", "-f", f"{experiment}-2").stdout
    never = platform.tm("logs", "-f", f"{experiment}-3")
    assert never.returncode == 1 and f"{experiment}-3" in never.stderr


def test_without_a_terminal_ctrl_c_leaves_it_running(platform: RunningPlatform, code: Path) -> None:
    argv = (sys.executable, "-P", "-m", "trainmaster.cli", "run", "--code", str(code), "--", *FOR_EVER)
    env = os.environ | {"TM_DATA": str(platform.data)}
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130
    experiment = told.partition(":")[0]
    assert "it goes on" in told
    assert _state(platform, experiment) == "ACTIVE"
    assert platform.tm("cancel", experiment).returncode == 0


def test_on_a_terminal_ctrl_c_asks_and_cancels(platform: RunningPlatform, code: Path) -> None:
    argv = (sys.executable, "-P", "-m", "trainmaster.cli", "run", "--code", str(code), "--", *FOR_EVER)
    env = os.environ | {"TM_DATA": str(platform.data), "TERM": "dumb"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        told = _read_until(ours, b"begun")
        process.send_signal(signal.SIGINT)
        _read_until(ours, b"go on")
        os.write(ours, b"cancel\n")
        assert process.wait(60) == 130
    os.close(ours)
    experiment = told.partition(b":")[0].decode().strip().split()[-1]
    assert _state(platform, experiment) == "CANCELED"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--slots", "x", "--", "true"), "x"),
        (("--env", "no equals sign", "--", "true"), "KEY=VALUE"),
        (("--env", "RANK=1", "--", "true"), "set by the platform"),
        (("--launcher", "deepspeed", "--slots", "2", "--", "torchrun", "x.py"), "torchrun"),
        ((), "COMMAND"),
    ],
)
def test_mistakes_are_told_without_a_platform(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    ran = run_tm("run", *words, env={"TM_DATA": str(tmp_path)})
    assert ran.returncode == 2
    assert said in ran.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str) -> None:
    printed = run_tm("completion", shell)
    assert printed.returncode == 0
    assert f"_TM_COMPLETE={shell}_complete" in printed.stdout


def test_a_shell_is_told_the_commands() -> None:
    told = run_tm(env={"_TM_COMPLETE": "bash_complete", "COMP_WORDS": "tm ru", "COMP_CWORD": "1"})
    assert told.stdout.split() == ["plain,run"]


def test_an_upload_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    upload = Upload(b"x" * 10, lambda sent, total: told.append((sent, total)))
    while upload.read(4):
        pass
    assert told == [(4, 10), (8, 10), (10, 10), (10, 10)]
    assert upload.seek(0, io.SEEK_END) == 10


def _state(platform: RunningPlatform, experiment: str) -> str:
    return str(json.loads(platform.tm("show", experiment, "--json").stdout)["experiment"]["state"])


def _read_until(terminal: int, wanted: bytes) -> bytes:
    """Return what a terminal shows up to some bytes; the test's time limit ends a vain wait."""
    shown = b""
    while wanted not in shown:
        shown += os.read(terminal, 4096)
    return shown
