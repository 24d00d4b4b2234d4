"""The steps that make secrets and choose agents, on a folder."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared import settings
from trainmaster.compose import agent
from trainmaster.compose.prepare import OWNERS, num_agents_from_environment, prepare

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@root_only
def test_each_secret_can_be_read_by_its_user_alone(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "no-volumes", num_agents=2)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 22
    for path in files:
        owner, *inside = path.relative_to(tmp_path).parts
        status = path.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == ((OWNERS[owner], 0o400) if inside else (0, 0o600))


@root_only
def test_preparing_again_keeps_the_secrets_and_adds_users_for_new_agents(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "no-volumes", num_agents=1)
    before = {path: path.read_text() for path in tmp_path.rglob("TM_*")}
    prepare(tmp_path, tmp_path / "no-volumes", num_agents=3)
    assert {path: path.read_text() for path in before} == before
    assert agent.agent_ids(tmp_path / "agents") == ["agent-1", "agent-2", "agent-3"]
    num_users = (tmp_path / "nats" / "nats.conf").read_text().count('"user"')
    assert num_users == 6 + 3  # the administrator, four services, the auditor, and the agents


@root_only
def test_volumes_go_to_their_users(tmp_path: Path) -> None:
    for name in ("nats", "agents"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    prepare(tmp_path / "secrets", tmp_path / "volumes", num_agents=1)
    assert (tmp_path / "volumes" / "agents").stat().st_uid == OWNERS["agents"]


@root_only
def test_the_broker_listens_to_other_containers_and_shows_itself_to_none(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "no-volumes", num_agents=1)
    text = (tmp_path / "nats" / "nats.conf").read_text()
    assert 'listen: "0.0.0.0:4222"' in text
    assert 'http: "127.0.0.1:8222"' in text
    assert "sync_interval: always" in text


def test_agents_take_the_first_free_identity_and_leave_it_when_they_die(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from trainmaster.compose.agent import claim;"
        "print(claim(Path(sys.argv[1]), ['agent-1', 'agent-2']), flush=True); sys.stdin.read()"
    )
    argv = (sys.executable, "-c", hold, str(tmp_path))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "agent-1\n"
        assert agent.claim(tmp_path, ["agent-1", "agent-2"]) == "agent-2"
        with pytest.raises(SystemExit, match="raise TM_AGENTS"):
            agent.claim(tmp_path, ["agent-1", "agent-2"])
        holder.kill()
    assert agent.claim(tmp_path, ["agent-1", "agent-2"]) == "agent-1"


def test_agents_are_numbered_not_sorted_as_words(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"agent-{number}").mkdir()
    assert agent.agent_ids(tmp_path) == ["agent-1", "agent-2", "agent-10"]


@pytest.mark.parametrize("text", ["", "0", "two", "-1", "100000"])
def test_a_wrong_number_of_agents_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_AGENTS", text)
    with pytest.raises(SystemExit, match="TM_AGENTS"):
        num_agents_from_environment()


def test_a_setting_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TM_NATS_URL", raising=False)
    (tmp_path / "url").write_text("nats://somewhere\n")
    monkeypatch.setenv("TM_NATS_URL_FILE", str(tmp_path / "url"))
    assert settings.nats_url() == "nats://somewhere"
    monkeypatch.setenv("TM_NATS_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="cannot be read"):
        settings.nats_url()
