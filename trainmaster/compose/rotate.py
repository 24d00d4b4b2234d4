"""Forgets secrets, so that the next `prepare` draws new ones; README.md says what has to be started anew afterwards."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from trainmaster.compose.prepare import AUTHORITY, CREDENTIALS

#: What can be rotated: the entries of credentials.json, or keys of certificates.
PASSWORDS = {
    "nats": ("nats",),
    "postgres": ("postgres",),
    "s3": ("s3_access_key", "s3_secret_key"),
    "admin": ("admin_token",),
}
CERTIFICATES = {"certificates": ("nats", "proxy"), "authority": ("ca", "nats", "proxy")}


def rotate(secrets: Path, what: Sequence[str]) -> None:
    """Forget these secrets. Exits with a clear message when one is unknown, and then forgets none."""
    known = [*PASSWORDS, *CERTIFICATES]
    if not what or not set(what) <= set(known):
        raise SystemExit(f"say what to rotate: {', '.join(known)}")
    path = secrets / CREDENTIALS
    credentials = json.loads(path.read_text())
    for name in what:
        for entry in PASSWORDS.get(name, ()):
            credentials.pop(entry, None)
        for key in CERTIFICATES.get(name, ()):
            (secrets / AUTHORITY / f"{key}.key").unlink(missing_ok=True)
    scratch = path.with_suffix(".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(credentials, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
