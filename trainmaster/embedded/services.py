"""How each service is run as a process of its own: its settings, from ports and credentials."""

import os
import sys
from pathlib import Path

from shared import subjects
from trainmaster.embedded import s3
from trainmaster.embedded.credentials import Credentials
from trainmaster.embedded.directory import metrics_port
from trainmaster.embedded.nats import SERVICES, user_url
from trainmaster.embedded.postgres import postgres_url
from trainmaster.embedded.program import HOST, Program

#: What an agent of the platform takes from the environment of `tm up`.
AGENT_SETTINGS = (
    "TM_POOL",
    "TM_AGENT_LABELS",
    "TM_ZERO_SLOT_LIMIT",
    "TM_WARM_GPUS",
    "TM_UPLOAD_MB_S",
    "TM_STOP_GRACE_S",
)


def agent_ids(num_agents: int) -> list[str]:
    """Return the names of the agents on this machine: local, local-2 and so on."""
    return ["local", *(f"local-{number}" for number in range(2, num_agents + 1))][:num_agents]


def service_names(num_agents: int) -> list[str]:
    """Return the programs of the services, agents among them."""
    return [*SERVICES, *map(subjects.agent_writer, agent_ids(num_agents))]


def service_programs(ports: dict[str, int], credentials: Credentials, state: Path) -> list[Program]:
    """Return the four services that are not agents."""
    postgres = {"TM_POSTGRES_URL": postgres_url(ports["postgres"], credentials.postgres)}
    admin = {"TM_ADMIN_TOKEN": credentials.admin_token} | _passed_on("TM_WEBHOOK_NETWORKS")
    gateway = {"TM_GATEWAY_HOST": HOST, "TM_GATEWAY_PORT": str(ports["gateway"])} | _passed_on("TM_GATEWAY_RATE")
    more = {
        subjects.SCHEDULER: {"TM_STATE_DIR": str(state)} | _passed_on("TM_POOL_POLICY", "TM_AGENT_TIMEOUT_S"),
        subjects.SEARCHER: {"TM_STATE_DIR": str(state)},
        subjects.TRACKER: postgres | {"TM_AUDIT_KEY": str(state.parent / "audit.key")},
        subjects.GATEWAY: postgres | gateway | admin | s3_environment(ports, credentials),
    }
    return [
        _python(
            service, service, {"TM_NATS_URL": _nats_url(ports, credentials, service)} | _shown(ports, service) | extra
        )
        for service, extra in more.items()
    ]


def _shown(ports: dict[str, int], program: str) -> dict[str, str]:
    port = ports.get(metrics_port(program))
    return {} if port is None else {"TM_METRICS_HOST": HOST, "TM_METRICS_PORT": str(port)}


def _passed_on(*names: str) -> dict[str, str]:
    """Settings of a service that are given to the platform as a whole."""
    return {name: os.environ[name] for name in names if name in os.environ}


def agent_program(
    agent_id: str, slots: str, work_dir: Path, ports: dict[str, int], credentials: Credentials
) -> Program:
    """Return one agent."""
    work_dir.mkdir(parents=True, exist_ok=True)
    env = {
        "TM_NATS_URL": _nats_url(ports, credentials, subjects.agent_writer(agent_id)),
        "TM_AGENT_ID": agent_id,
        "TM_SLOTS": slots,
        "TM_AGENT_ADDRESS": HOST,
        "TM_WORK_DIR": str(work_dir),
    } | _passed_on(*AGENT_SETTINGS)
    env |= _shown(ports, subjects.agent_writer(agent_id))
    return _python(f"worker-{agent_id}", "worker", env | s3_environment(ports, credentials))


def s3_environment(ports: dict[str, int], credentials: Credentials) -> dict[str, str]:
    """Return the TM_S3_ settings."""
    settings = s3.s3_settings(ports["s3"], credentials.s3_access_key, credentials.s3_secret_key)
    return {
        "TM_S3_ENDPOINT": settings.endpoint,
        "TM_S3_ACCESS_KEY": settings.access_key,
        "TM_S3_SECRET_KEY": settings.secret_key,
        "TM_S3_BUCKET": settings.bucket,
        "TM_S3_REGION": settings.region,
    }


def _python(name: str, service: str, env: dict[str, str]) -> Program:
    log_level = {"TM_LOG_LEVEL": os.environ.get("TM_LOG_LEVEL", "INFO")}
    # -P: a folder named `shared` where we happen to run must not hide ours. One malloc arena is enough for one loop.
    argv = (sys.executable, "-P", "-m", f"services.{service}")
    return Program(name=name, argv=argv, env={"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"} | log_level | env)


def _nats_url(ports: dict[str, int], credentials: Credentials, user: str) -> str:
    return user_url(ports["nats"], user, credentials.nats[user])
