"""Makes the shared fixtures and the order of the tests known to pytest."""

from tests.support.fixtures import nats_server, platform, postgres_port, postgres_url, s3, s3_server
from tests.support.ordering import pytest_collection_modifyitems

__all__ = [
    "nats_server",
    "platform",
    "postgres_port",
    "postgres_url",
    "pytest_collection_modifyitems",
    "s3",
    "s3_server",
]
