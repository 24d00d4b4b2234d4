"""What the gateway is told by its environment."""

import os
from dataclasses import dataclass
from pathlib import Path

from services.gateway.joining import Hosts
from services.gateway.webhooks.target import Network, networks
from shared import settings
from shared.settings import S3Settings

MIN_TOKEN = 20
MAX_RATE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the servers are, where to listen (TM_GATEWAY_HOST, _PORT), and the host names that lead here (_NAMES);
    TM_ADMIN_TOKEN opens everything; TM_HOSTS_FILE has what agents on other machines are told; TM_GATEWAY_RATE is how
    many requests a second one token may make; TM_WEBHOOK_NETWORKS is where webhooks may post besides public
    addresses."""

    nats_url: str
    postgres_url: str
    s3: S3Settings
    admin_token: str
    host: str
    port: int
    names: frozenset[str] = frozenset()
    hosts: Hosts | None = None
    requests_per_s: float = 1000.0
    webhook_networks: tuple[Network, ...] = ()

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the environment. Exits with a clear message when something is missing."""
        port = os.environ.get("TM_GATEWAY_PORT", "8080")
        if not port.isdecimal() or int(port) > 65535:
            raise SystemExit(f"TM_GATEWAY_PORT is {port!r}; it must be a port number")
        hosts = os.environ.get("TM_HOSTS_FILE")
        return cls(
            nats_url=settings.nats_url(),
            postgres_url=settings.postgres_url(),
            s3=S3Settings.from_environment(),
            admin_token=_admin_token(),
            host=os.environ.get("TM_GATEWAY_HOST", "127.0.0.1"),
            port=int(port),
            requests_per_s=_rate(),
            webhook_networks=_networks(os.environ.get("TM_WEBHOOK_NETWORKS", "")),
            names=frozenset(os.environ.get("TM_GATEWAY_NAMES", "").lower().replace(",", " ").split()),
            hosts=Hosts.read(Path(hosts)) if hosts else None,
        )


def _rate() -> float:
    text = os.environ.get("TM_GATEWAY_RATE", "1000")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_RATE:
        raise SystemExit(f"TM_GATEWAY_RATE is {text!r}; it must be 1 to {MAX_RATE:,} requests a second")
    return float(text)


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return networks(text)
    except ValueError as error:
        raise SystemExit(f"TM_WEBHOOK_NETWORKS is {text!r}; write networks such as 10.1.0.0/16: {error}") from error


def _admin_token() -> str:
    token = settings.required("TM_ADMIN_TOKEN")
    if len(token) < MIN_TOKEN or not token.isascii():
        raise SystemExit(f"TM_ADMIN_TOKEN has {len(token)} characters; it must be {MIN_TOKEN} or more, drawn at random")
    return token
