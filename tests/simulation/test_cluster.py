"""Many seeds of a whole cluster under faults; a seed that fails replays exactly."""

import pytest

from tests.simulation.cluster import Cluster

SEEDS = 300


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_the_cluster_keeps_its_promises_under_faults(first: int) -> None:
    faults = conflicts = 0
    for seed in range(first, first + 50):
        cluster = Cluster(seed)
        try:
            cluster.run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        faults += cluster.num_faults
        conflicts += cluster.log.num_conflicts
    assert faults > 100, "the simulation injected no faults worth the name"
    assert conflicts > 10, "no instance was ever stale"


def test_a_seed_replays_exactly() -> None:
    one, other = Cluster(7), Cluster(7)
    one.run()
    other.run()
    assert [recorded.event for recorded in one.log.events] == [recorded.event for recorded in other.log.events]
