"""Draws the secrets and hands each to the one user who needs it; runs before anything else, and again at will.

    credentials.json                 root's: every secret, drawn once
    nats/nats.conf                   users, passwords and permissions
    postgres/password  minio/…       what the official images read
    <service>/TM_…                   settings that carry a secret, one file each
    agents/TM_S3_…  agents/<agent>/  what agents share, and what each has for itself

Every process of the deployment has a user of its own (OWNERS), and a secret's file can be read by its user alone. This
step is the only one that runs as root, with the one capability to give files away; it has no network.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from shared import subjects
from trainmaster.embedded.credentials import Credentials, ensure_credentials
from trainmaster.embedded.nats import ADMIN, SERVICES, configuration

#: User and group ids; compose.yaml and the Dockerfile say the same, and a test compares. 999 is the postgres image's.
OWNERS = {
    "nats": 10001,
    "postgres": 999,
    "minio": 10002,
    "init": 10003,
    subjects.GATEWAY: 10004,
    subjects.SCHEDULER: 10005,
    subjects.SEARCHER: 10006,
    subjects.TRACKER: 10007,
    "agents": 10008,
    "prometheus": 10009,
    "grafana": 10010,
}

NATS_STORE = Path("/var/lib/nats")
NATS_PORT = 4222
DATABASE = "trainmaster"

#: Only for health checks inside the container: it tells strangers who is connected.
_MONITOR = 'http: "127.0.0.1:8222"\n'


def num_agents_from_environment() -> int:
    """Return TM_AGENTS, for how many agents there are users. Exits when it is no number."""
    text = os.environ.get("TM_AGENTS", "2")
    if not text.isdecimal() or not 0 < int(text) <= 10_000:
        raise SystemExit(f"TM_AGENTS is {text!r}; it must be the number of agents, 1 to 10000")
    return int(text)


def prepare(secrets: Path, volumes: Path, num_agents: int) -> None:
    """Write every secret file and give the volumes to their users."""
    agent_ids = [f"agent-{number}" for number in range(1, num_agents + 1)]
    secrets.mkdir(exist_ok=True)
    credentials = ensure_credentials(secrets / "credentials.json", agent_ids)
    for name, content in secret_files(credentials).items():
        _hand_over(secrets / name, content, OWNERS[name.split("/")[0]])
    for volume in sorted(volumes.iterdir()) if volumes.exists() else []:
        os.chown(volume, OWNERS[volume.name], OWNERS[volume.name])


def secret_files(credentials: Credentials) -> dict[str, str]:
    """Return what each file holds. The first part of its name says whose it is."""
    keys = {"TM_S3_ACCESS_KEY": credentials.s3_access_key, "TM_S3_SECRET_KEY": credentials.s3_secret_key}
    database = {"TM_POSTGRES_URL": f"postgresql://trainmaster:{credentials.postgres}@postgres:5432/{DATABASE}"}
    more: dict[str, Mapping[str, str]] = {
        subjects.GATEWAY: keys | database | {"TM_ADMIN_TOKEN": credentials.admin_token},
        subjects.TRACKER: database,
    }
    files = {
        "nats/nats.conf": configuration(NATS_STORE, NATS_PORT, credentials.nats, host="0.0.0.0") + _MONITOR,
        "postgres/password": credentials.postgres,
        "minio/user": credentials.s3_access_key,
        "minio/password": credentials.s3_secret_key,
        "grafana/password": credentials.grafana,
    }
    files |= _settings("init", credentials.nats[ADMIN], ADMIN, keys)
    for service in SERVICES:
        files |= _settings(service, credentials.nats[service], service, more.get(service, {}))
    files |= {f"agents/{name}": value for name, value in keys.items()}
    for user, password in credentials.nats.items():
        if user.startswith("worker-"):
            files |= _settings(f"agents/{user.removeprefix('worker-')}", password, user, {})
    return files


def _settings(folder: str, password: str, user: str, more: Mapping[str, str]) -> dict[str, str]:
    settings = {"TM_NATS_URL": f"nats://{user}:{password}@nats:{NATS_PORT}", **more}
    return {f"{folder}/{name}": value for name, value in settings.items()}


def _hand_over(path: Path, content: str, owner: int) -> None:
    """Replace a file whose owner alone can read it. The folders stay ours, or we could not replace it next time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chown(scratch, owner, owner)
    scratch.replace(path)
