"""The order of the tests: pure ones first, then those with servers, then those with a whole platform."""

import pytest

SERVERS = frozenset({"nats_server", "postgres_url", "s3", "s3_server", "postgres_port"})


def rank(item: pytest.Item) -> int:
    """Return 0 for a pure test, 1 for one with servers, 2 for one with a platform."""
    fixtures = set(getattr(item, "fixturenames", ()))
    if "platform" in fixtures or any(part in item.path.parts for part in ("e2e", "page", "cluster")):
        return 2
    return 1 if fixtures & SERVERS else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests; within a rank they stay as they are."""
    items.sort(key=rank)
