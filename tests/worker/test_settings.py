"""What an agent's environment may say."""

import re
from pathlib import Path

import pytest

from services.worker.service import FAREWELL_S
from services.worker.settings import Settings
from trainmaster.embedded.supervisor import AGENT_GRACE_S

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "trainmaster-agent.service"
COMPOSE = DEPLOY / "compose" / "compose.yaml"

GIVEN = {
    "TM_NATS_URL": "nats://worker-a1:x@127.0.0.1:4222",
    "TM_S3_ENDPOINT": "http://127.0.0.1:9000",
    "TM_S3_ACCESS_KEY": "k",
    "TM_S3_SECRET_KEY": "s",
    "TM_AGENT_ID": "a1",
    "TM_WORK_DIR": "/var/lib/agent",
}


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    for name in (
        "TM_SLOTS",
        "TM_POOL",
        "TM_AGENT_ADDRESS",
        "TM_AGENT_LABELS",
        "TM_ZERO_SLOT_LIMIT",
        "TM_UPLOAD_MB_S",
        "TM_STOP_GRACE_S",
    ):
        monkeypatch.delenv(name, raising=False)


def test_the_rest_has_defaults() -> None:
    settings = Settings.from_environment()
    assert (settings.agent_id, settings.pool_id, settings.address, settings.slots, settings.work_directory) == (
        "a1", "default", "127.0.0.1", "auto", Path("/var/lib/agent"),
    )  # fmt: skip


def test_a_directory_is_the_same_one_over_whatever_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("TM_WORK_DIR", str(tmp_path / "link" / "a1"))
    assert Settings.from_environment().work_directory == tmp_path.resolve() / "real" / "a1"


def test_labels_and_the_limit_of_tasks_without_slots_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_AGENT_LABELS", "switch=s1, room=b2")
    monkeypatch.setenv("TM_ZERO_SLOT_LIMIT", "0")
    settings = Settings.from_environment()
    assert (dict(settings.labels), settings.zero_slot_limit) == ({"switch": "s1", "room": "b2"}, 0)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("TM_AGENT_ID", "", "TM_AGENT_ID is not set"),
        ("TM_AGENT_ID", "GPU 7", "TM_AGENT_ID is 'GPU 7'; it must be"),
        ("TM_POOL", "a.b", "TM_POOL is 'a.b'; it must be"),
        ("TM_AGENT_ADDRESS", "203.0.113.1", "no address of this machine"),
        ("TM_WORK_DIR", "", "TM_WORK_DIR is not set"),
        ("TM_AGENT_LABELS", "switch", "TM_AGENT_LABELS is 'switch'; write"),
        ("TM_ZERO_SLOT_LIMIT", "-1", "TM_ZERO_SLOT_LIMIT is '-1'; use a number"),
        ("TM_UPLOAD_MB_S", "0", "TM_UPLOAD_MB_S is '0'; use a number of megabytes"),
        ("TM_UPLOAD_MB_S", "fast", "TM_UPLOAD_MB_S is 'fast'"),
        ("TM_STOP_GRACE_S", "-1", "TM_STOP_GRACE_S is '-1'; use a number of seconds, 0 to 3600"),
        ("TM_STOP_GRACE_S", "nan", "TM_STOP_GRACE_S is 'nan'"),
        ("TM_STOP_GRACE_S", "1m", "TM_STOP_GRACE_S is '1m'"),
        ("TM_WARM_GPUS", "maybe", "TM_WARM_GPUS is 'maybe'; use yes or no"),
        ("TM_S3_ENDPOINT", "file://shared", "name a directory by its whole path"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=complaint):
        Settings.from_environment()


def test_whoever_stops_an_agent_waits_for_its_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line)
    assert unit["Environment"].startswith("TM_STOP_GRACE_S=")
    name, _, value = unit["Environment"].partition("=")
    least_s = Settings.from_environment().stop_grace_s + FAREWELL_S
    monkeypatch.setenv(name, value)
    assert int(unit["TimeoutStopSec"]) > Settings.from_environment().stop_grace_s + FAREWELL_S
    assert least_s < AGENT_GRACE_S
    (compose,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE.read_text())
    for told in re.findall(r"TM_STOP_GRACE_S: (\d+)", COMPOSE.read_text()):
        assert int(compose) > int(told) + FAREWELL_S


def test_uploads_may_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().upload_bytes_per_s is None
    monkeypatch.setenv("TM_UPLOAD_MB_S", "2.5")
    assert Settings.from_environment().upload_bytes_per_s == 2_500_000
