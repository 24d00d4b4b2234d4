"""tap, export and audit against a running platform."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform, run_tm

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def exported(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a platform on which something has happened and was sealed."""
    eventually_sync(lambda: _lines(platform, "--name", "AuditSealed"), timeout_s=90)
    path = tmp_path_factory.mktemp("export") / "log.jsonl"
    done = platform.tm("export", "--to", str(path))
    assert done.returncode == 0, done.stderr
    return path


def test_a_live_log_verifies_with_the_platforms_own_key(platform: RunningPlatform, exported: Path) -> None:
    done = platform.tm("audit", "verify", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"], report
    assert report["num_seals"] > 0
    assert report["public_keys"] == [(platform.data / "audit.pub").read_text().strip()]


def test_an_export_verifies_without_the_platform(exported: Path, tmp_path: Path) -> None:
    good = run_tm("audit", "verify", str(exported))
    assert good.returncode == 0 and "nothing was changed" in good.stdout, good.stdout
    wrong_key = run_tm("audit", "verify", str(exported), "--key", "ab" * 32)
    assert wrong_key.returncode == 1 and "another key" in wrong_key.stdout
    lines = exported.read_text().splitlines(keepends=True)
    dropped = tmp_path / "dropped.jsonl"
    dropped.write_text("".join(lines[:1] + lines[2:]))
    found = run_tm("audit", "verify", str(dropped), "--json")
    assert found.returncode == 1
    assert next(one["text"] for one in json.loads(found.stdout)["findings"]) == "event 2 is missing"


def test_an_exported_body_is_the_one_on_the_log(exported: Path) -> None:
    first, *_, last = map(json.loads, exported.read_text().splitlines())
    assert first["name"].encode() in base64.b64decode(first["body"])
    assert last["end"]["is_whole"]


def test_a_proof_is_checked_without_the_platform(platform: RunningPlatform, exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    for words in ((), ("--newest",)):
        proof = platform.tm("audit", "prove", "1", "--json", *words)
        assert proof.returncode == 0, proof.stderr
        path.write_text(proof.stdout)
        checked = run_tm("audit", "check", str(path), "--key", str(platform.data / "audit.pub"), "--json")
        assert checked.returncode == 0 and json.loads(checked.stdout)["ok"]
    tampered = json.loads(path.read_text())
    tampered["subject"] = tampered["subject"] + "x"
    path.write_text(json.dumps(tampered))
    refused = run_tm("audit", "check", str(path))
    assert refused.returncode == 1 and "does not lead" in refused.stdout


def test_an_event_that_is_not_sealed_has_no_proof_yet(platform: RunningPlatform) -> None:
    refused = platform.tm("audit", "prove", "999999999")
    assert refused.returncode == 1 and "no seal covers" in refused.stderr


def test_tap_ends_at_a_sequence_and_after_a_count(platform: RunningPlatform, exported: Path) -> None:
    assert [event["seq"] for event in _lines(platform, "--until", "3")] == [1, 2, 3]
    assert [event["seq"] for event in _lines(platform, "--count", "2")] == [1, 2]
    live = platform.tm("tap", "--after", "0", "--count", "2", "--json", timeout_s=60)
    assert [json.loads(line)["seq"] for line in live.stdout.splitlines()] == [1, 2]


def test_tap_prints_as_it_is_told(platform: RunningPlatform, exported: Path) -> None:
    first = platform.tm("tap", "--after", "0", "--until", "1", "--format", "{seq}|{name}|{event[service]}")
    refused = platform.tm("tap", "--after", "0", "--until", "1", "--format", "{nothing}")
    assert first.stdout.startswith("1|") or first.returncode == 1
    assert refused.returncode == 1 and "--format does not fit" in refused.stderr


def test_tap_goes_on_where_it_stopped(platform: RunningPlatform, exported: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    first = _lines(platform, "--resume", place, "--count", "2")
    then = platform.tm("tap", "--no-follow", "--json", "--resume", place, "--until", "4")
    assert [event["seq"] for event in first] == [1, 2]
    assert [json.loads(line)["seq"] for line in then.stdout.splitlines()] == [3, 4]
    assert Path(place).read_text() == "4\n"


def test_a_part_of_the_log_is_exported_for_analysis(platform: RunningPlatform, exported: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "agents.parquet"
    done = platform.tm("export", "--to", str(target), "--name", "AgentJoined")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = parquet.read_table(target).to_pylist()
    assert {row["name"] for row in rows} == {"AgentJoined"} and rows[0]["chain"] is None
    told = platform.tm("export", "--to", str(target), "--name", "AgentJoined", "--json")
    num_events = parquet.read_table(target).num_rows
    assert json.loads(told.stdout) == {"file": str(target), "num_events": num_events, "is_whole": False}
    refused = platform.tm("export", "--to", str(tmp_path / "log.csv"))
    assert refused.returncode == 2


def _lines(platform: RunningPlatform, *words: str) -> list[dict[str, Any]]:
    done = platform.tm("tap", "--after", "0", "--no-follow", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
