"""Ports, credentials and the data directory."""

import json
import socket
import stat
from pathlib import Path

import pytest

from trainmaster.embedded.credentials import ensure_credentials
from trainmaster.embedded.directory import AlreadyRunning, DataDirectory
from trainmaster.embedded.nats import configuration, permissions
from trainmaster.embedded.program import HOST, free_port


def test_a_preferred_port_is_taken_when_it_is_free() -> None:
    port = free_port()
    assert free_port(port) == port


def test_a_preferred_port_that_is_in_use_is_not_taken() -> None:
    with socket.create_server((HOST, free_port())) as server:
        used = server.getsockname()[1]
        assert free_port(used) != used


def test_a_port_given_to_one_server_is_not_given_to_another() -> None:
    port = free_port()
    assert free_port(port, taken=frozenset({port})) != port


def test_credentials_are_drawn_once_and_are_nobody_elses_business(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    first = ensure_credentials(path, ["local"])
    second = ensure_credentials(path, ["local", "local-2"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert second.postgres == first.postgres
    assert second.nats["worker-local"] == first.nats["worker-local"]
    assert len(set(second.nats.values())) == len(second.nats)


def test_ports_are_remembered(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    assert directory.choose_ports() == directory.choose_ports()


def test_a_data_directory_has_one_supervisor(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    with directory.locked():
        with pytest.raises(AlreadyRunning), directory.locked():
            pass
        assert directory.supervisor_pid() is not None
    assert directory.supervisor_pid() is None


def test_a_cluster_file_that_a_dead_supervisor_left_means_nothing(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.write_cluster({"url": "http://127.0.0.1:1", "pid": 1})
    assert directory.cluster() is None


def test_a_log_that_has_grown_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainmaster.embedded.directory.MAX_LOG_BYTES", 4)
    directory = DataDirectory(tmp_path)
    directory.create()
    for text in (b"first", b"second"):
        with directory.open_log("nats") as log:
            log.write(text)
    assert directory.log_file("nats").read_bytes() == b"second"


def test_passwords_and_paths_are_quoted_in_the_brokers_configuration(tmp_path: Path) -> None:
    text = configuration(tmp_path / 'odd"name', 4222, {"admin": 'pass"word'})
    assert json.dumps(str(tmp_path / 'odd"name')) in text
    assert '"password": "pass\\"word"' in text


@pytest.mark.parametrize("user", ["gateway", "searcher", "scheduler", "tracker", "worker-a1"])
def test_nobody_but_the_administrator_may_change_a_stream(user: str) -> None:
    allowed = permissions(user)["publish"]["allow"]
    for action in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE"):
        assert not [subject for subject in allowed if subject.startswith(f"$JS.API.STREAM.{action}")]
    assert ">" not in allowed
    assert "$JS.API.>" not in allowed
