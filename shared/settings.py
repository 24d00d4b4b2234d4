"""How a service finds the servers: environment variables, read once. Each service adds its own.

A required one may also be in a file, named by the variable with _FILE behind its name.
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shared.ids import is_token

_DIRECTORY = "file://"


def required(name: str) -> str:
    """Return an environment variable, or what the file named by NAME_FILE holds. Exits with a clear message."""
    value = os.environ.get(name) or _from_file(os.environ.get(f"{name}_FILE"))
    if not value:
        raise SystemExit(f"{name} is not set; see the settings in this service's README.md")
    return value


def _from_file(path: str | None) -> str | None:
    """Return a secret: in a file it is in nobody's environment, and in no description of a container."""
    try:
        return Path(path).read_text().strip() if path else None
    except OSError as error:
        raise SystemExit(f"a setting cannot be read from its file: {error}") from error


def nats_url() -> str:
    """Return TM_NATS_URL, credentials included; of a cluster the URL of each server, with commas between them."""
    return required("TM_NATS_URL")


def tls_context() -> ssl.SSLContext:
    """Return whom to believe over TLS: the authority in TM_CA_FILE, else those that this machine believes."""
    path = os.environ.get("TM_CA_FILE")
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise SystemExit(f"TM_CA_FILE is {path!r}, which is no file of certificates: {error}") from error


def postgres_url() -> str:
    """Return TM_POSTGRES_URL."""
    return required("TM_POSTGRES_URL")


def instance() -> str:
    """Return TM_INSTANCE, this instance's lasting name among those of its service; default `main`."""
    name = os.environ.get("TM_INSTANCE", "main")
    if not is_token(name):
        raise SystemExit(f"TM_INSTANCE is {name!r}; use lower-case letters, digits and dashes")
    return name


def state_directory() -> Path | None:
    """Return TM_STATE_DIR, where snapshots are kept; None if it is not set: then every start folds the whole log."""
    name = os.environ.get("TM_STATE_DIR")
    return Path(name) if name else None


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


def metrics_address() -> Address | None:
    """Return TM_METRICS_HOST (default 127.0.0.1) and TM_METRICS_PORT, where /metrics is; None without a port."""
    port = os.environ.get("TM_METRICS_PORT")
    if not port:
        return None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SystemExit(f"TM_METRICS_PORT is {port!r}; it must be a port number, or empty: then no metrics are shown")
    return Address(os.environ.get("TM_METRICS_HOST", "127.0.0.1"), int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """Where the object store is: TM_S3_ENDPOINT (a URL), _ACCESS_KEY, _SECRET_KEY, _BUCKET, _REGION.

    An endpoint file:///path is a directory that all machines share instead of a server; it needs no keys.
    """

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    region: str

    @classmethod
    def from_environment(cls) -> "S3Settings":
        """Read the TM_S3_… variables."""
        endpoint = required("TM_S3_ENDPOINT")
        is_directory = endpoint.startswith(_DIRECTORY)
        if is_directory and not endpoint.startswith(f"{_DIRECTORY}/"):
            raise SystemExit(f"TM_S3_ENDPOINT is {endpoint!r}; name a directory by its whole path, file:///path")
        return cls(
            endpoint=endpoint,
            access_key="" if is_directory else required("TM_S3_ACCESS_KEY"),
            secret_key="" if is_directory else required("TM_S3_SECRET_KEY"),
            bucket=os.environ.get("TM_S3_BUCKET", "trainmaster"),
            region=os.environ.get("TM_S3_REGION", "us-east-1"),
        )

    @property
    def directory(self) -> Path | None:
        """The directory that takes a server's place, if one does."""
        return Path(self.endpoint.removeprefix(_DIRECTORY)) if self.endpoint.startswith(_DIRECTORY) else None
