"""The dealing of records to ranks: every epoch is a permutation, and a resumed run sees what it would have seen."""

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainmaster.sdk.sampler import Shuffle, epoch_order

shuffles = st.builds(
    Shuffle,
    num_records=st.integers(1, 60),
    micro_batch_size=st.integers(1, 9),
    world_size=st.integers(1, 4),
    seed=st.integers(0, 2**63),
)


def stream(shuffle: Shuffle, num_batches: int) -> list[int]:
    """Return the records in the order in which all ranks together take them."""
    batches = [shuffle.micro_batches(rank, 0) for rank in range(shuffle.world_size)]
    return [record for _ in range(num_batches) for batch in batches for record in next(batch)]


@given(shuffle=shuffles, num_epochs=st.integers(1, 3))
def test_every_epoch_is_a_partition_of_the_dataset(shuffle: Shuffle, num_epochs: int) -> None:
    step_size = shuffle.micro_batch_size * shuffle.world_size
    records = stream(shuffle, -(-num_epochs * shuffle.num_records // step_size))
    for epoch in range(num_epochs):
        start = epoch * shuffle.num_records
        assert sorted(records[start : start + shuffle.num_records]) == list(range(shuffle.num_records))


@given(shuffle=shuffles, resumed_at=st.integers(0, 40))
def test_resuming_gives_the_same_suffix(shuffle: Shuffle, resumed_at: int) -> None:
    for rank in range(shuffle.world_size):
        whole = list(islice(shuffle.micro_batches(rank, 0), resumed_at + 10))
        records_seen = resumed_at * shuffle.world_size * shuffle.micro_batch_size
        assert list(islice(shuffle.micro_batches(rank, records_seen), 10)) == whole[resumed_at:]
        assert {len(batch) for batch in whole} == {shuffle.micro_batch_size}


@given(shuffle=shuffles, world_size=st.integers(1, 4), num_batches=st.integers(0, 12))
def test_another_number_of_ranks_goes_on_with_the_next_record(
    shuffle: Shuffle, world_size: int, num_batches: int
) -> None:
    seen = stream(shuffle, num_batches)
    resized = replace(shuffle, world_size=world_size)
    batches = [resized.micro_batches(rank, len(seen)) for rank in range(world_size)]
    then = [record for _ in range(5) for batch in batches for record in next(batch)]
    assert stream(replace(shuffle, world_size=1, micro_batch_size=1), len(seen + then)) == seen + then


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == len(orders)


def test_the_order_of_an_epoch_never_changes() -> None:
    assert epoch_order(8, 1, 0).tolist() == [3, 7, 6, 5, 2, 0, 4, 1]


def test_an_empty_dataset_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Shuffle(num_records=0, micro_batch_size=1, world_size=1, seed=0)
