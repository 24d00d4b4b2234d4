"""Finding the platform: TM_URL, else the one that runs in the data directory."""

import os

from trainmaster.client.errors import NoPlatform
from trainmaster.client.hints import command
from trainmaster.embedded.directory import DataDirectory


def find_url(data: str | None = None) -> str:
    """Return the URL of the platform: of the named data directory, else TM_URL, else of the default directory.

    Raises NoPlatform.
    """
    if data is None and (url := os.environ.get("TM_URL")):
        return url
    directory = DataDirectory.named(data)
    cluster = directory.cluster()
    if cluster is None:
        raise NoPlatform(f"no platform runs in {directory.path}. Start one with: {command('up --detach', data)}")
    return str(cluster["url"])
