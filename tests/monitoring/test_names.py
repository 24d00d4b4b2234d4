"""Dashboard and alerts ask for what a running platform really shows."""

import json
import re
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.eventually import eventually_sync
from tests.support.platform import RunningPlatform

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
PROGRAMS = {"gateway", "scheduler", "searcher", "tracker", "worker-local"}

_NAME = re.compile(r"\b((?:tm|process)_[a-z_]+)\b")
_SERIES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",), "gauge": ("",)}


def expressions() -> list[str]:
    """Every query of the dashboard and of the alerts."""
    dashboard = json.loads((MONITORING / "grafana" / "dashboards" / "trainmaster.json").read_text())
    alerts = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return asked + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def shown(platform: RunningPlatform) -> dict[str, dict[str, set[str]]]:
    """By program, the series that it shows, with the names of their labels."""
    targets = json.loads((platform.data / "metrics-targets.json").read_text())
    return {target["labels"]["program"]: _series(target["targets"][0]) for target in targets}


def _series(address: str) -> dict[str, set[str]]:
    request = Request(f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text"})
    with urlopen(request, timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))  # type: ignore[no-untyped-call] # theirs
    series: dict[str, set[str]] = {
        f"{family.name}{suffix}": set() for family in families for suffix in _SERIES[family.type]
    }
    for family in families:
        for sample in family.samples:
            series[sample.name] |= set(sample.labels)
    return series


def test_every_service_shows_itself(shown: dict[str, dict[str, set[str]]]) -> None:
    assert set(shown) == PROGRAMS
    for series in shown.values():
        assert {"tm_consumer_lag_messages", "tm_folded_seq", "tm_build_info", "process_cpu_seconds_total"} <= set(
            series
        )


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_shown(expression: str, shown: dict[str, dict[str, set[str]]]) -> None:
    known = {name for series in shown.values() for name in series}
    assert set(_NAME.findall(re.sub(r"\{[^}]*\}", "", expression))) <= known


@pytest.mark.parametrize("expression", [text for text in expressions() if re.search(r"tm_\w+\{", text)])
def test_labels_that_are_asked_for_exist(expression: str, shown: dict[str, dict[str, set[str]]]) -> None:
    for name, matchers in re.findall(r"(tm_\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)(?:=~|!=|=)\"", matchers))
        have = {label for series in shown.values() for label in series.get(name, set())}
        assert not have or labels <= have, name


def test_a_search_moves_the_figures(platform: RunningPlatform, shown: dict[str, dict[str, set[str]]]) -> None:
    listed = platform.tm("ls", "--json")  # a request, an answer
    assert listed.returncode == 0
    assert "route" in eventually_sync(lambda: _of(platform, "gateway")["tm_http_requests_total"])
    assert {"method", "route"} <= _of(platform, "gateway")["tm_http_request_seconds_bucket"]
    assert "pool" in _of(platform, "scheduler")["tm_slots_in_use"]


def _of(platform: RunningPlatform, program: str) -> dict[str, set[str]]:
    targets = json.loads((platform.data / "metrics-targets.json").read_text())
    address = next(target["targets"][0] for target in targets if target["labels"]["program"] == program)
    return _series(address)


def test_every_alert_says_how_bad_and_what_to_do() -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert f"`{rule['alert']}`" in text
