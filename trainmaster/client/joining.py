"""What a machine does to become an agent: it finds out whom to believe, shows its token, and keeps what it is told."""

import hashlib
import hmac
import json
import os
import socket
import ssl
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx

from trainmaster.client.checked import check
from trainmaster.client.errors import Unreachable
from trainmaster.client.shapes import Joined

TIMEOUT_S = 30.0
FILE, AUTHORITY = "agent.json", "ca.crt"


class NotThePlatform(Exception):
    """Who answers at the URL is not who drew the token."""


def join(url: str, token: str, machine: str) -> Joined:
    """Show a token and return what the platform says. Raises NotThePlatform, ApiError and Unreachable."""
    url, fingerprint = url.rstrip("/"), token.strip().rpartition(".")[2]
    try:
        context = ssl.create_default_context()
        if urlsplit(url).scheme == "https":
            context.load_verify_locations(cadata=_authority(url, fingerprint))
        with httpx.Client(timeout=TIMEOUT_S, verify=context) as http:
            answer = http.post(f"{url}/api/v1/join", json={"token": token.strip(), "machine": machine})
    except httpx.TransportError as error:
        raise Unreachable(f"the platform at {url} does not answer ({error})") from error
    check(answer)
    return cast("Joined", answer.json())


def keep(directory: Path, joined: Joined, environment: dict[str, str]) -> None:
    """Write what `agent_environment` reads into a directory that only its owner can read."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / AUTHORITY).write_text(joined["certificate_authority"])
    told = {
        "TM_AGENT_ID": joined["agent_id"],
        "TM_NATS_URL": joined["nats_url"],
        "TM_S3_ENDPOINT": joined["s3_endpoint"],
        "TM_S3_BUCKET": joined["s3_bucket"],
        "TM_S3_ACCESS_KEY": joined["s3_access_key"],
        "TM_S3_SECRET_KEY": joined["s3_secret_key"],
        "TM_CA_FILE": str(directory / AUTHORITY),
        "TM_WORK_DIR": str(directory / "work"),
    }
    scratch = directory / f"{FILE}.new"
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(told | environment, file, indent=1)
    scratch.replace(directory / FILE)


def agent_environment(directory: Path) -> dict[str, str]:
    """Return the settings of the agent that this machine has joined as. Raises FileNotFoundError."""
    (directory / "work").mkdir(exist_ok=True)
    environment: dict[str, str] = json.loads((directory / FILE).read_text())
    return environment


def own_address(url: str) -> str:
    """Return the address of this machine from which it reaches the platform: other agents of a gang find it there."""
    place = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((place.hostname or "localhost", place.port or 443))  # sends nothing
        return str(sock.getsockname()[0])


def _authority(url: str, fingerprint: str) -> str:
    """Return the platform's certificate authority, which the token's fingerprint vouches for."""
    with httpx.Client(timeout=TIMEOUT_S, verify=False) as http:  # noqa: S501 # compared below, before a secret is sent
        answer = http.get(f"{url}/ca.crt")
    try:
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(answer.text)).hexdigest()
    except ValueError:
        found = f"nothing ({answer.status_code})"
    if not hmac.compare_digest(found.encode(), fingerprint.encode()):
        reason = f"its certificate authority is {found[:12]}…, the token says {fingerprint[:12]}…"
        raise NotThePlatform(f"{url} is not the platform that drew this token: {reason}")
    return answer.text
