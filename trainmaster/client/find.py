"""Finding the platform, and the token that opens it."""

import json
import os
from typing import NamedTuple

from trainmaster.client import logins
from trainmaster.client.errors import NoPlatform
from trainmaster.client.hints import command
from trainmaster.embedded.directory import DataDirectory


class Place(NamedTuple):
    """Where a platform is; `token` is None when none is known for it."""

    url: str
    token: str | None


def find_platform(data: str | None = None) -> Place:
    """Return the platform of the named data directory, else of TM_URL, else of the default directory.

    The token is TM_TOKEN, else the administrator's where the data directory is ours, else that of the last `tm login`.

    Raises NoPlatform.
    """
    token = os.environ.get("TM_TOKEN")
    if data is None and (url := os.environ.get("TM_URL")):
        return Place(url, token or logins.read(url))
    directory = DataDirectory.named(data)
    cluster = directory.cluster()
    if cluster is None:
        raise NoPlatform(f"no platform runs in {directory.path}. Start one with: {command('up --detach', data)}")
    url = str(cluster["url"])
    return Place(url, token or _administrator(directory) or logins.read(url))


def _administrator(directory: DataDirectory) -> str | None:
    """Return the token that was drawn with the data directory; None for those who may not read it."""
    try:
        token: str = json.loads(directory.credentials_file.read_text())["admin_token"]
    except (PermissionError, KeyError):
        return None
    return token
