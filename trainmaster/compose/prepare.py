"""Draws the secrets and hands each to the one user who needs it; runs before anything else, and again at will.

    credentials.json                 root's: every password, drawn once
    authority/                       root's: the certificate authority, and what it has signed
    ca.crt                           everybody's: whom to believe
    nats/nats.conf  nats-2.conf …    users, passwords and permissions; with tls.crt and tls.key
    proxy/tls.crt tls.key            the certificate that browsers and other machines see
    postgres/password  minio/…       what the official images read
    <service>/TM_…                   settings that carry a secret, one file each
    gateway/hosts.json               what an agent on another machine gets when it joins
    agents/TM_S3_…  agents/<agent>/  what agents share, and what each has for itself

Every process of the deployment has a user of its own (OWNERS), and a secret's file can be read by its user alone. This
step is the only one that runs as root, with the one capability to give files away; it has no network.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from shared import subjects
from trainmaster.compose import certificates
from trainmaster.compose.certificates import Pair
from trainmaster.compose.plan import DATABASE, NATS_PORT, S3_BUCKET, Plan
from trainmaster.embedded.credentials import Credentials, ensure_credentials
from trainmaster.embedded.nats import ADMIN, READER, SERVICES, configuration

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
    "proxy": 10011,
    "authority": 0,
    "reader": 0,
}

NATS_STORE = Path("/var/lib/nats")
SECRETS = Path("/run/trainmaster")
AUTHORITY = "authority"
CREDENTIALS = "credentials.json"

#: Only for health checks inside the container: it tells strangers who is connected.
_MONITOR = 'http: "127.0.0.1:8222"\n'
_READABLE_BY_ALL = 0o444
_OWNER_ONLY = 0o400


def prepare(secrets: Path, volumes: Path, plan: Plan) -> None:
    """Write every secret file and give the volumes to their users."""
    secrets.mkdir(exist_ok=True)
    credentials = ensure_credentials(secrets / CREDENTIALS, plan.agent_ids, more_users=(plan.ROUTE,))
    authority = _pair(secrets, "ca") or certificates.draw_authority(datetime.now(UTC))
    files = secret_files(plan, credentials, authority) | _own_files("ca", authority)
    for name in ("nats", "proxy"):
        pair = _certificate(secrets, name, authority, plan)
        files |= _own_files(name, pair)
        files |= {f"{name}/tls.crt": pair.certificate, f"{name}/tls.key": pair.key}
    for name, content in files.items():
        _hand_over(secrets / name, content, OWNERS[name.split("/")[0]])
    _hand_over(secrets / "ca.crt", authority.certificate, 0, _READABLE_BY_ALL)
    for volume in sorted(volumes.iterdir()) if volumes.exists() else []:
        owner = OWNERS[volume.name.split("-")[0]]
        os.chown(volume, owner, owner)


def secret_files(plan: Plan, credentials: Credentials, authority: Pair) -> dict[str, str]:
    """Return what each file holds. The first part of its name says whose it is."""
    keys = {"TM_S3_ACCESS_KEY": credentials.s3_access_key, "TM_S3_SECRET_KEY": credentials.s3_secret_key}
    database = {"TM_POSTGRES_URL": f"postgresql://trainmaster:{credentials.postgres}@postgres:5432/{DATABASE}"}
    more: dict[str, Mapping[str, str]] = {
        subjects.GATEWAY: keys | database | {"TM_ADMIN_TOKEN": credentials.admin_token},
        subjects.TRACKER: database,
    }
    files = {
        "postgres/password": credentials.postgres,
        "minio/user": credentials.s3_access_key,
        "minio/password": credentials.s3_secret_key,
        "grafana/password": credentials.grafana,
        "gateway/hosts.json": hosts(plan, credentials, authority),
    }
    files |= {f"nats/{node}.conf": _nats_configuration(plan, node, credentials) for node in plan.nats_nodes}
    files |= _settings(plan, "init", ADMIN, credentials, keys)
    files |= _settings(plan, READER, READER, credentials, {})
    for service in SERVICES:
        files |= _settings(plan, service, service, credentials, more.get(service, {}))
    files |= {f"agents/{name}": value for name, value in keys.items()}
    for agent_id in plan.local_agent_ids:
        files |= _settings(plan, f"agents/{agent_id}", subjects.agent_writer(agent_id), credentials, {})
    return files


def hosts(plan: Plan, credentials: Credentials, authority: Pair) -> str:
    """Return what the gateway tells agents on other machines, as JSON: where the servers are, and as whom each agent
    connects."""
    users = {agent_id: subjects.agent_writer(agent_id) for agent_id in plan.remote_agent_ids}
    return json.dumps(
        {
            "certificate_authority": authority.certificate,
            "s3_endpoint": plan.public_s3,
            "s3_bucket": S3_BUCKET,
            "s3_access_key": credentials.s3_access_key,
            "s3_secret_key": credentials.s3_secret_key,
            "nats_urls": {
                agent_id: f"tls://{user}:{credentials.nats[user]}@{plan.public_nats}"
                for agent_id, user in users.items()
            },
        }
    )


def _settings(plan: Plan, folder: str, user: str, credentials: Credentials, more: Mapping[str, str]) -> dict[str, str]:
    login = f"{user}:{credentials.nats[user]}"
    url = ",".join(f"tls://{login}@{node}:{NATS_PORT}" for node in plan.nats_nodes)
    return {f"{folder}/{name}": value for name, value in {"TM_NATS_URL": url, **more}.items()}


def _nats_configuration(plan: Plan, node: str, credentials: Credentials) -> str:
    users = {user: password for user, password in credentials.nats.items() if user != plan.ROUTE}
    text = configuration(NATS_STORE, NATS_PORT, users, host="0.0.0.0", name=node)
    files = {"cert_file": f"{SECRETS}/nats/tls.crt", "key_file": f"{SECRETS}/nats/tls.key", "timeout": 5}
    text += _MONITOR + f"tls: {json.dumps(files)}\n"
    if len(plan.nats_nodes) == 1:
        return text
    login = {"user": plan.ROUTE, "password": credentials.nats[plan.ROUTE]}
    cluster = {
        "name": "trainmaster",
        "listen": f"0.0.0.0:{plan.ROUTES_PORT}",
        "authorization": login,
        "tls": files | {"ca_file": f"{SECRETS}/ca.crt"},
        "no_advertise": True,  # clients know all servers by the names that are in the certificate
        "routes": [f"nats://{plan.ROUTE}:{login['password']}@{name}:{plan.ROUTES_PORT}" for name in plan.nats_nodes],
    }
    return text + f"cluster: {json.dumps(cluster)}\n"


def _certificate(secrets: Path, name: str, authority: Pair, plan: Plan) -> Pair:
    now = datetime.now(UTC)
    known = _pair(secrets, name)
    if known is not None and certificates.is_good(known, authority, plan.names, now):
        return known
    return certificates.draw(authority, plan.names, now)


def _own_files(name: str, pair: Pair) -> dict[str, str]:
    """What is read again the next time: without the capability to read what was given away."""
    return {f"{AUTHORITY}/{name}.crt": pair.certificate, f"{AUTHORITY}/{name}.key": pair.key}


def _pair(secrets: Path, name: str) -> Pair | None:
    certificate, key = secrets / AUTHORITY / f"{name}.crt", secrets / AUTHORITY / f"{name}.key"
    return Pair(certificate.read_text(), key.read_text()) if certificate.exists() and key.exists() else None


def _hand_over(path: Path, content: str, owner: int, mode: int = _OWNER_ONLY) -> None:
    """Replace a file whose owner alone can read it. The folders stay ours, or we could not replace it next time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.chmod(mode)  # whatever the umask says
    os.chown(scratch, owner, owner)
    scratch.replace(path)
