"""A typed Python client of the platform's HTTP API.

from trainmaster.client import Client, find_platform

with Client(*find_platform()) as client:
    experiment = client.submit(Path("search.yaml"), Path("code"))

`AsyncClient` has the same methods as coroutines and async iterators.
"""

from trainmaster.client.asynchronous.client import AsyncClient
from trainmaster.client.client import Client
from trainmaster.client.errors import ApiError, NoPlatform, Unreachable
from trainmaster.client.find import find_platform

__all__ = ["ApiError", "AsyncClient", "Client", "NoPlatform", "Unreachable", "find_platform"]
