"""Makes the shared fixtures and the order of the tests known to pytest."""

import signal

from hypothesis import HealthCheck, settings

from tests.support.fixtures import (
    directory,
    nats_server,
    platform,
    postgres_port,
    postgres_url,
    s3,
    s3_server,
    store,
)
from tests.support.ordering import pytest_collection_modifyitems

__all__ = [
    "directory",
    "nats_server",
    "platform",
    "postgres_port",
    "postgres_url",
    "pytest_collection_modifyitems",
    "s3",
    "s3_server",
    "store",
]

# Whoever starts the tests in the background has them ignore Ctrl-C, and what they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A noisy machine is no finding: drawing and running may take as long as they take.
settings.register_profile("trainmaster", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("trainmaster")
