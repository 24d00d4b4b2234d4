"""The steps that make secrets and choose agents, on a folder."""

import contextlib
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared import settings
from trainmaster.compose import agent, certificates
from trainmaster.compose.certificates import Pair
from trainmaster.compose.plan import Plan
from trainmaster.compose.prepare import OWNERS, hosts, prepare
from trainmaster.compose.rotate import rotate
from trainmaster.embedded.credentials import ensure_credentials

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@root_only
def test_each_secret_can_be_read_by_its_user_alone(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "no-volumes", Plan(num_agents=2))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 35
    for path in files:
        owner, *inside = path.relative_to(tmp_path).parts
        status = path.stat()
        expected = (OWNERS[owner], 0o400) if inside else (0, 0o444 if owner == "ca.crt" else 0o600)
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == expected, path


@root_only
def test_preparing_again_keeps_the_secrets_and_adds_users_for_new_agents(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "no-volumes", Plan(num_agents=1))
    before = {path: path.read_text() for path in tmp_path.rglob("TM_*")}
    prepare(tmp_path, tmp_path / "no-volumes", Plan(num_agents=3))
    assert {path: path.read_text() for path in before} == before
    assert agent.agent_ids(tmp_path / "agents") == ["agent-1", "agent-2", "agent-3"]
    num_users = (tmp_path / "nats" / "nats.conf").read_text().count('"user"')
    assert num_users == 6 + 3  # the administrator, four services, the auditor, and the agents


@root_only
def test_volumes_go_to_their_users(tmp_path: Path) -> None:
    for name in ("nats", "agents"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    prepare(tmp_path / "secrets", tmp_path / "volumes", Plan(num_agents=1))
    assert (tmp_path / "volumes" / "agents").stat().st_uid == OWNERS["agents"]


@root_only
def test_the_broker_listens_to_other_containers_and_shows_itself_to_none(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "no-volumes", Plan(num_agents=1))
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TM_AGENTS", ""),
        ("TM_AGENTS", "0"),
        ("TM_AGENTS", "two"),
        ("TM_AGENTS", "-1"),
        ("TM_AGENTS", "100000"),
        ("TM_NATS_NODES", "2"),
        ("TM_REMOTE_AGENTS", "-1"),
        ("TM_S3_PORT", "70000"),
        ("TM_HOST", "a host"),
        ("TM_GATEWAY_NAMES", "fine.example.org, $(reboot)"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(SystemExit, match=name):
        Plan.from_environment({name: text})


@root_only
def test_three_brokers_know_each_other_and_everybody_knows_all_three(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "no-volumes", Plan(num_nats=3))
    for name in ("nats", "nats-2", "nats-3"):
        text = (tmp_path / "nats" / f"{name}.conf").read_text()
        assert f"server_name: {name}\n" in text
        assert all(f"@{fellow}:6222" in text for fellow in ("nats", "nats-2", "nats-3"))
        assert '"user": "route", "password"' in text and '"user": "route",\n' not in text
    url = (tmp_path / "gateway" / "TM_NATS_URL").read_text()
    assert [part.rpartition("@")[2] for part in url.split(",")] == ["nats:4222", "nats-2:4222", "nats-3:4222"]


def served(folder: Path, authority: Path, name: str) -> None:
    """Let a server with the folder's certificate and a client that believes the authority shake hands."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    inside, outside = (ssl.MemoryBIO(), ssl.MemoryBIO()), ssl.create_default_context(cafile=authority)
    client = outside.wrap_bio(inside[0], inside[1], server_hostname=name)
    answering = server.wrap_bio(inside[1], inside[0], server_side=True)
    waiting = [client, answering]
    for _ in range(8):
        for end in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                waiting.remove(end)
    assert not waiting


@root_only
def test_preparing_again_takes_no_more_than_the_one_capability(tmp_path: Path) -> None:
    """As the container has it: what was given away cannot be read any more."""
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv")
    run = "from pathlib import Path; from trainmaster.compose.prepare import *; prepare(Path('s'), Path('v'), Plan())"
    bare = ("setpriv", "--bounding-set", "-all,+chown", sys.executable, "-c", run)
    for _ in range(2):
        subprocess.run(bare, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    reading = ("setpriv", "--bounding-set", "-all,+chown", "cat", "s/nats/tls.key")
    assert subprocess.run(reading, cwd=tmp_path, capture_output=True).returncode == 1


@root_only
def test_certificates_are_believed_under_every_name_and_no_other(tmp_path: Path) -> None:
    plan = Plan(host="train.example.org", more_names=("10.1.2.3",), num_nats=3)
    prepare(tmp_path, tmp_path / "no-volumes", plan)
    for folder in ("nats", "proxy"):
        for name in ("train.example.org", "10.1.2.3", "localhost", "::1", "nats-3"):
            served(tmp_path / folder, tmp_path / "ca.crt", name)
        with pytest.raises(ssl.SSLCertVerificationError):
            served(tmp_path / folder, tmp_path / "ca.crt", "elsewhere.example.org")


@root_only
def test_certificates_are_kept_until_a_name_comes_or_they_get_old(tmp_path: Path) -> None:
    def drawn(plan: Plan) -> str:
        prepare(tmp_path, tmp_path / "no-volumes", plan)
        return (tmp_path / "proxy" / "tls.crt").read_text()

    first = drawn(Plan())
    assert drawn(Plan()) == first
    second = drawn(Plan(host="train.example.org"))
    assert second != first
    authority = Pair((tmp_path / "ca.crt").read_text(), "")
    names, now = Plan(host="train.example.org").names, datetime.now(UTC)
    assert certificates.is_good(Pair(second, ""), authority, names, now + timedelta(days=200))
    assert not certificates.is_good(Pair(second, ""), authority, names, now + timedelta(days=300))
    other = certificates.draw_authority(now)
    assert not certificates.is_good(Pair(second, ""), other, names, now)


@root_only
def test_rotation_draws_what_was_named_anew_and_nothing_else(tmp_path: Path) -> None:
    def all_files() -> dict[str, str]:
        prepare(tmp_path, tmp_path / "no-volumes", Plan())
        return {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    before = all_files()
    with pytest.raises(SystemExit, match="say what to rotate: nats, postgres, s3, admin, certificates, authority"):
        rotate(tmp_path, ["postgres", "everything"])
    assert all_files() == before
    rotate(tmp_path, ["postgres", "certificates"])
    after = all_files()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "credentials.json", "postgres/password", "gateway/TM_POSTGRES_URL", "tracker/TM_POSTGRES_URL",
        "nats/tls.crt", "nats/tls.key", "proxy/tls.crt", "proxy/tls.key",
        "authority/nats.crt", "authority/nats.key", "authority/proxy.crt", "authority/proxy.key",
    }  # fmt: skip
    rotate(tmp_path, ["authority"])
    assert all_files()["ca.crt"] != after["ca.crt"]


def test_hosts_are_told_where_to_connect_and_as_whom(tmp_path: Path) -> None:
    plan = Plan(num_remote_agents=2, host="train.example.org", nats_port=14222, s3_port=19443)
    told = json.loads(
        hosts(plan, ensure_credentials(tmp_path / "credentials.json", plan.agent_ids), Pair("the authority", ""))
    )
    assert told["certificate_authority"] == "the authority"
    assert told["s3_endpoint"] == "https://train.example.org:19443"
    assert set(told["nats_urls"]) == {"host-1", "host-2"}
    assert re.fullmatch(r"tls://worker-host-1:[^@]+@train\.example\.org:14222", told["nats_urls"]["host-1"])


def test_a_setting_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TM_NATS_URL", raising=False)
    (tmp_path / "url").write_text("nats://somewhere\n")
    monkeypatch.setenv("TM_NATS_URL_FILE", str(tmp_path / "url"))
    assert settings.nats_url() == "nats://somewhere"
    monkeypatch.setenv("TM_NATS_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="cannot be read"):
        settings.nats_url()
