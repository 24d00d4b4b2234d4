"""What can be known of the deployment without an engine."""

import ast
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trainmaster.compose.prepare import OWNERS

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
ONE_SHOTS = {"prepare", "init"}
DOCKERFILE = (COMPOSE / "Dockerfile").read_text()
TEXT = (COMPOSE / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ENV = dict(
    line.split("=", 1) for line in (COMPOSE / ".env.example").read_text().splitlines() if re.match("[A-Z]", line)
)

each_service = pytest.mark.parametrize("name", SERVICES)


def owner(service: str) -> int:
    if service == "prepare":
        return 0
    return OWNERS["agents" if service.startswith("agent") else service]


def test_every_variable_is_documented_and_every_documented_one_is_used() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT))
    assert used | {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"} == set(ENV)


def test_every_setting_has_a_comment_above_it() -> None:
    paragraphs = (COMPOSE / ".env.example").read_text().strip().split("\n\n")
    assert all(paragraph.startswith("# ") for paragraph in paragraphs)


@pytest.mark.parametrize("setting", [name for name in ENV if name.endswith("_IMAGE")])
def test_images_are_pinned(setting: str) -> None:
    tag = ENV[setting].partition(":")[2]
    assert tag
    assert tag != "latest"
    assert re.search(r"\d+\.\d+|\d{4}-\d\d-\d\d", tag)


@each_service
def test_a_service_says_which_image_by_a_setting(name: str) -> None:
    assert "${TM_" in SERVICES[name]["image"]


@each_service
def test_a_service_is_sealed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == f"{owner(name)}:{owner(name)}"
    assert "privileged" not in service
    assert service.get("cap_add", []) == {"prepare": ["CHOWN"], "proxy": ["NET_BIND_SERVICE"]}.get(name, [])


def test_the_one_root_has_no_network() -> None:
    assert SERVICES["prepare"]["network_mode"] == "none"


@each_service
def test_a_service_is_watched_and_restarted(name: str) -> None:
    if name in ONE_SHOTS:
        assert SERVICES[name]["healthcheck"] == {"disable": True}
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        assert SERVICES[name]["restart"] == "unless-stopped"


@each_service
def test_only_what_speaks_tls_is_published(name: str) -> None:
    published = {
        "proxy": [
            "${TM_BIND}:${TM_PORT}:8443",
            "${TM_BIND}:${TM_GRAFANA_PORT}:3443",
            "${TM_JOIN_BIND}:${TM_S3_PORT}:9443",
        ],
        "nats": ["${TM_JOIN_BIND}:${TM_NATS_PORT}:4222"],
    }
    assert SERVICES[name].get("ports", []) == published.get(name, [])
    assert ENV["TM_BIND"] == ENV["TM_JOIN_BIND"] == "127.0.0.1"


def test_the_proxy_hands_out_one_file_and_that_is_no_secret() -> None:
    caddyfile = (COMPOSE / "Caddyfile").read_text()
    assert re.findall(r"handle (/\S*)", caddyfile) == ["/ca.crt"]
    assert caddyfile.count("tls {$TM_TLS}") == len(re.findall(r"^:\d+ \{", caddyfile, re.MULTILINE)) == 3


CLUSTER: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.cluster.yaml").read_text())["services"]


@pytest.mark.parametrize("name", ["nats-2", "nats-3", "scheduler-2", "searcher-2"])
def test_a_standby_is_as_its_fellow_but_for_its_name_and_place(name: str) -> None:
    fellow, standby = SERVICES[name[:-2]], dict(CLUSTER[name])
    for field in ("image", "user", "read_only", "cap_drop", "security_opt", "tmpfs", "restart", "healthcheck"):
        assert standby[field] == fellow[field], field
    settings = dict(standby.get("environment", {}))
    assert settings.pop("TM_INSTANCE", None) == (None if name.startswith("nats") else "standby")
    assert settings == fellow.get("environment", {})
    assert set(standby["volumes"]).isdisjoint(set(fellow["volumes"]) - {"secrets:/run/trainmaster:ro"})


def test_all_brokers_are_waited_for_before_streams_are_made() -> None:
    assert set(CLUSTER["init"]["depends_on"]) == {"nats-2", "nats-3"}
    assert CLUSTER["init"]["environment"] == CLUSTER["prepare"]["environment"] == {"TM_NATS_NODES": 3}


@each_service
def test_secrets_are_read_only_to_all_but_the_one_who_draws_them(name: str) -> None:
    mounts = [mount for mount in SERVICES[name]["volumes"] if mount.startswith("secrets:")]
    if name == "prometheus":  # it has none
        assert mounts == []
        return
    assert mounts == ["secrets:/run/trainmaster" + ("" if name == "prepare" else ":ro")]


@pytest.mark.parametrize("target", ["init", "gateway", "scheduler", "searcher", "tracker", "worker"])
def test_an_image_runs_as_the_user_whose_secrets_it_reads(target: str) -> None:
    stage = re.search(rf"AS {target}\n(.*?)(\nFROM |\Z)", DOCKERFILE, re.DOTALL)
    assert stage is not None
    number = OWNERS["agents" if target == "worker" else target]
    assert f"USER {number}:{number}" in stage[1]


def test_the_dockerfile_names_packages_that_the_lock_pins_and_no_versions() -> None:
    locked = {line.split("==")[0].lower() for line in (ROOT / "requirements.lock").read_text().splitlines()}
    installed = {word for line in re.findall(r"pip install (.*)", DOCKERFILE) for word in line.split()}
    assert {word.lower() for word in installed} <= locked


def test_only_the_workers_image_has_torch_and_deepspeed() -> None:
    assert [line for line in DOCKERFILE.splitlines() if "torch" in line.split()] == [
        "RUN pip install deepspeed minio msgpack nvidia-ml-py pydantic PyYAML scikit-learn torch"
    ]


@pytest.mark.parametrize("service", ["gateway", "init", "scheduler", "searcher", "tracker", "worker"])
def test_an_image_has_the_packages_that_its_service_imports(service: str) -> None:
    """Also those that our modules import that it reaches."""
    core, own = (packages_of(stage) for stage in ("core", service))
    has = with_dependencies([*core, *own])
    of_module = packages_distributions()
    package = ROOT / ("trainmaster/compose" if service == "init" else f"services/{service}")
    needs = {canonicalize_name(of_module[name][0]) for name in imported_by(package) if name in of_module}
    assert needs - {"trainmaster"} <= has


def packages_of(stage: str) -> list[str]:
    installed = re.search(rf"AS {stage}-packages\n.*?RUN pip install (.*?)\n", DOCKERFILE, re.DOTALL)
    assert installed is not None
    return installed[1].split()


def with_dependencies(names: Iterable[str]) -> set[str]:
    """The distributions that pip installs when it is given these, by their canonical names."""
    waiting, found = [canonicalize_name(name) for name in names], set[str]()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return found


def imported_by(package: Path) -> set[str]:
    """The first names of all modules that a package imports, itself and through what it imports of ours."""
    files, seen, names = list(package.rglob("*.py")), set[Path](), set[str]()
    while files:
        path = files.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in modules_in(path):
            names.add(name.split(".")[0])
            if name.startswith(("shared.", "trainmaster.")):
                place = ROOT / name.replace(".", "/")
                files += [found for found in (place.with_suffix(".py"), place / "__init__.py") if found.exists()]
    return names


def modules_in(path: Path) -> Iterator[str]:
    """What a file imports when it is run; not what it imports for its types alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
