"""Prometheus on a real deployment: all targets answer, every query of dashboard and alerts too, and an alert fires.

As test_engine.py it takes minutes and runs only where `./tm test --compose` asks for it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.compose.deployment import NUM_AGENTS, Deployment, measure, note, running
from tests.compose.engine import ROOT, Engine, Images, only_where_asked_for
from tests.compose.search import begin_search, client, end_search

MONITORING = ROOT / "deploy" / "monitoring"
UNIT_TESTS = Path(__file__).with_name("alerts_test.yaml")
ALERTS = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
PANELS = json.loads((MONITORING / "grafana" / "dashboards" / "trainmaster.json").read_text())["panels"]

only_where_asked_for()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def watched(docker: tuple[Engine, Images], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment with Prometheus, and with Grafana where its image can be had; one search has run."""
    found, images = docker
    with running(Deployment(engine=found, images=images, scratch=tmp_path_factory.mktemp("watched"))) as deployment:
        more = {"prometheus"} if images.stand_ins else {"prometheus", "grafana"}
        deployment.compose("up", "--detach", "--no-build", *more)
        deployment.services |= more
        note("monitoring: until all are healthy", deployment.wait_healthy())
        with client(deployment) as platform:
            end_search(platform, begin_search(platform))
        yield deployment


def ask(deployment: Deployment, path: str, **words: str) -> Any:
    """What Prometheus answers; nobody but its own container's processes can ask it from outside the network."""
    url = f"http://127.0.0.1:9090/api/v1/{path}?{urlencode(words)}"
    answer = json.loads(deployment.compose("exec", "-T", "prometheus", "wget", "-q", "-O", "-", url))
    assert answer["status"] == "success"
    return answer["data"]


def test_every_process_is_scraped(watched: Deployment) -> None:
    programs = ["agent"] * NUM_AGENTS + ["gateway", "scheduler", "searcher", "tracker"]

    def up() -> list[str]:
        targets = ask(watched, "targets")["activeTargets"]
        return sorted(target["labels"]["program"] for target in targets if target["health"] == "up")

    measure(lambda: up() == programs, lambda: ask(watched, "targets"), 60)


def test_prometheus_finds_no_fault_in_configuration_and_rules(watched: Deployment) -> None:
    watched.compose("exec", "-T", "prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yaml")
    [group] = ask(watched, "rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in ALERTS]
    measure(lambda: healths(watched) == {"ok"}, lambda: ask(watched, "rules"), 60)


def healths(deployment: Deployment) -> set[str]:
    [group] = ask(deployment, "rules")["groups"]
    return {rule["health"] for rule in group["rules"]}


def test_each_alert_fires_when_it_should_and_not_before(watched: Deployment) -> None:
    """By the histories in alerts_test.yaml, played by Prometheus' own tool."""
    tested = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    assert {case["alertname"] for test in tested for case in test["alert_rule_test"]} == {
        rule["alert"] for rule in ALERTS
    }
    inside = ("sh", "-c", "cat >/tmp/alerts_test.yaml && promtool test rules /tmp/alerts_test.yaml")
    watched.compose("exec", "-T", "prometheus", *inside, stdin=UNIT_TESTS.read_text())


@pytest.mark.parametrize("query", [target["expr"] for panel in PANELS for target in panel.get("targets", [])])
def test_a_query_of_the_dashboard_has_an_answer(watched: Deployment, query: str) -> None:
    def answer() -> list[Any]:
        return list(ask(watched, "query", query=query)["result"])

    measure(lambda: answer() != [], lambda: query, 60)


def test_nothing_is_wrong_while_nothing_is_wrong(watched: Deployment) -> None:
    assert [alert for alert in ask(watched, "alerts")["alerts"] if alert["state"] == "firing"] == []


def test_an_alert_fires_while_the_scheduler_is_away(watched: Deployment) -> None:
    def firing() -> bool:
        alerts = ask(watched, "alerts")["alerts"]
        names = {(alert["labels"]["alertname"], alert["labels"].get("service")) for alert in alerts if is_firing(alert)}
        return ("ProcessSilent", "scheduler") in names

    watched.compose("stop", "scheduler")
    note("scheduler stopped: the alert fires", measure(firing, lambda: ask(watched, "alerts"), 180))
    watched.compose("start", "scheduler")
    note("scheduler started: it is silent again", measure(lambda: not firing(), lambda: ask(watched, "alerts"), 120))


def is_firing(alert: dict[str, Any]) -> bool:
    return bool(alert["state"] == "firing")
