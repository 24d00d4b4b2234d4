"""What teams and administrators say to the scheduler, by command, against a running platform."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform

pytestmark = pytest.mark.timeout(300)

EXPERIMENT = """
name: {name}
entrypoint: python train.py
workspace: {workspace}
searcher: {{name: single, metric: loss}}
resources: {{slots_per_trial: {slots}, priority: {priority}}}
"""
SCRIPT = """
import trainmaster as tm

with tm.trial() as trial:
    trial.report_validation(1, loss=1.0)
"""


def _tm(platform: RunningPlatform, *words: str) -> str:
    done = platform.tm(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _json(platform: RunningPlatform, *words: str) -> Any:
    return json.loads(_tm(platform, *words, "--json"))


@pytest.fixture
def agent(platform: RunningPlatform) -> Iterator[str]:
    """The platform's only agent, idle and drained, so that whatever is submitted waits."""
    name: str = _json(platform, "agents")[0]["id"]
    _tm(platform, "agents", "drain", name)
    yield name
    platform.tm("agents", "enable", name)


def _submit(
    platform: RunningPlatform, path: Path, name: str, *, slots: int = 1, priority: str = "null", workspace: str = "''"
) -> str:
    code = path / name
    code.mkdir()
    (code / "train.py").write_text(SCRIPT)
    text = EXPERIMENT.format(name=name, slots=slots, priority=priority, workspace=workspace)
    (code / "search.yaml").write_text(text)
    experiment: dict[str, Any] = _json(platform, "submit", str(code / "search.yaml"))
    return str(experiment["id"])


def _waiting(platform: RunningPlatform, *ids: str) -> list[dict[str, Any]]:
    """The trials of these experiments that wait, in the order of service, once all of them do."""

    def look() -> list[dict[str, Any]]:
        found = [trial for trial in _json(platform, "queue") if trial["experiment_id"] in ids]
        return found if len(found) == len(ids) else []

    return eventually_sync(look, timeout_s=60)


def _are_in_order(platform: RunningPlatform, *ids: str) -> None:
    """The scheduler tells the order when it has heard of the last change."""
    eventually_sync(lambda: [trial["experiment_id"] for trial in _waiting(platform, *ids)] == list(ids))


def _completes(platform: RunningPlatform, *ids: str) -> None:
    def look() -> bool:
        states = {found["id"]: found["state"] for found in _json(platform, "ls")}
        return all(states[id_] == "COMPLETED" for id_ in ids)

    assert eventually_sync(look, timeout_s=120)


def test_a_drained_agent_starts_nothing_and_the_queue_is_changed_by_hand(
    platform: RunningPlatform, agent: str, tmp_path: Path
) -> None:
    one, two, three = (_submit(platform, tmp_path, name) for name in ("one", "two", "three"))
    assert [trial["detail"]["kind"] for trial in _waiting(platform, one, two, three)] == ["agents_closed"] * 3
    assert "take no new work" in _tm(platform, "why", f"{one}-1")
    assert "DRAINING" in _tm(platform, "agents")
    _tm(platform, "move", three, "--ahead-of", one)
    _are_in_order(platform, three, one, two)
    _tm(platform, "move", three, "--behind", one)
    _are_in_order(platform, one, three, two)
    assert _json(platform, "change", two, "--priority", "7")["priority"] == 7
    _are_in_order(platform, two, one, three)
    _tm(platform, "change", one, "--weight", "3")
    _tm(platform, "change", one, "--max-slots", "1")
    refused = platform.tm("change", one, "--pool", "nosuch")
    assert refused.returncode == 1 and "nosuch" in refused.stderr
    _tm(platform, "agents", "enable", agent)
    _completes(platform, one, two, three)


def test_a_slot_is_disabled_apart_and_a_gang_waits_for_it(
    platform: RunningPlatform, agent: str, tmp_path: Path
) -> None:
    _tm(platform, "agents", "disable", agent, "--slot", "1")
    _tm(platform, "agents", "enable", agent)
    pair = _submit(platform, tmp_path, "pair", slots=2)
    assert _waiting(platform, pair)[0]["detail"]["kind"] == "agents_closed"
    small = _submit(platform, tmp_path, "small")
    _completes(platform, small)
    _tm(platform, "agents", "enable", agent, "--slot", "1")
    _completes(platform, pair)


def test_limits_refuse_at_submission_and_hold_live(platform: RunningPlatform, agent: str, tmp_path: Path) -> None:
    _tm(platform, "limits", "set", "--workspace", "tight", "--max-slots", "1", "--best-priority", "30")
    assert {"workspace": "tight", "max_slots": 1, "best_priority": 30, "held": 0} in _json(platform, "limits")
    code = tmp_path / "beyond"
    code.mkdir()
    (code / "train.py").write_text(SCRIPT)
    for slots, priority, what in ((2, "null", "slots_per_trial"), (1, "7", "priority")):
        text = EXPERIMENT.format(name="beyond", slots=slots, priority=priority, workspace="tight")
        (code / "search.yaml").write_text(text)
        refused = platform.tm("submit", str(code / "search.yaml"))
        assert refused.returncode == 1 and what in refused.stderr and "tight" in refused.stderr
    held = _submit(platform, tmp_path, "held", workspace="tight")
    refused = platform.tm("change", held, "--priority", "7")
    assert refused.returncode == 1 and "tight" in refused.stderr
    _tm(platform, "limits", "set", "--workspace", "tight", "--max-slots", "0")
    _tm(platform, "agents", "enable", agent)

    def is_held_back() -> bool:
        return bool(_waiting(platform, held)[0]["detail"]["kind"] == "limit")

    assert eventually_sync(is_held_back, timeout_s=60)
    assert "tight" in _tm(platform, "why", f"{held}-1")
    _tm(platform, "limits", "clear", "--workspace", "tight")
    _completes(platform, held)


def test_a_pool_is_configured_and_whatif_reproduces_every_decision(platform: RunningPlatform) -> None:
    _tm(platform, "pools", "set", "default", "--preemption", "--default-priority", "50")
    pool = next(pool for pool in _json(platform, "pools") if pool["id"] == "default")
    assert (pool["policy"]["preemption"], pool["policy"]["default_priority"]) == (True, 50)
    _tm(platform, "pools", "set", "default", "--no-preemption", "--default-priority", "42")
    told = _json(platform, "whatif", "--policy", "fair_share", "--agents", "+1")
    fidelity = told["fidelity"]
    assert fidelity["num_reproduced"] == fidelity["num_decisions"] > 0
    assert told["whatif"]["finished"] == told["actual"]["finished"]
