"""Passwords of one data directory, drawn once and kept in a file that only its owner can read."""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainmaster.embedded.nats import ADMIN, READER, SERVICES


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Every secret of the platform. `nats` maps a user to its password."""

    nats: dict[str, str]
    postgres: str
    s3_access_key: str
    s3_secret_key: str
    admin_token: str
    grafana: str


def ensure_credentials(path: Path, agent_ids: Sequence[str], *, more_users: Sequence[str] = ()) -> Credentials:
    """Return the credentials in the file, drawing those that are missing."""
    known = json.loads(path.read_text()) if path.exists() else {}
    users = [ADMIN, READER, *SERVICES, *(f"worker-{agent_id}" for agent_id in agent_ids), *more_users]
    drawn = {
        "nats": known.get("nats", {}) | {user: _draw() for user in users if user not in known.get("nats", {})},
        "postgres": known.get("postgres") or _draw(),
        "s3_access_key": known.get("s3_access_key") or secrets.token_hex(10),
        "s3_secret_key": known.get("s3_secret_key") or _draw(),
        "grafana": known.get("grafana") or _draw(),
        "admin_token": known.get("admin_token") or _draw(),
    }
    if drawn != known:
        _write_private(path, json.dumps(drawn, indent=1))
    return Credentials(**drawn)


def _draw() -> str:
    return secrets.token_urlsafe(24)


def _write_private(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
