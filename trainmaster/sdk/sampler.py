"""Which records are in which batch: a pure function of the seed, so that a resumed run sees the same batches.

Each epoch is a permutation of the dataset, drawn from (seed, epoch). The epochs are laid end to end into one endless
stream, and the stream is cut into micro-batches of equal size, given to the ranks in turn. So every record is seen once
an epoch, no batch is ever smaller than the others, and the position in the stream follows from the number of records
seen alone, also where a run goes on with another batch size or number of ranks. A batch may straddle two epochs.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import torch

EPOCHS_AT_HAND = 2


def epoch_order(num_records: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the order of the records in an epoch; the same for the same arguments, everywhere and always."""
    digest = hashlib.blake2b(f"{seed}:{epoch}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest))
    return torch.randperm(num_records, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Shuffle:
    """How a dataset is dealt out to the ranks of a trial."""

    num_records: int
    micro_batch_size: int
    world_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.num_records < 1:
            raise ValueError("the dataset is empty")

    def micro_batches(self, rank: int, first_record: int) -> Iterator[list[int]]:
        """Yield the record indices of a rank's micro-batches, for ever; rank 0's first begins at `first_record`."""
        order = lru_cache(EPOCHS_AT_HAND)(lambda epoch: epoch_order(self.num_records, self.seed, epoch))
        for number in count():
            batch: list[int] = []
            position = first_record + (number * self.world_size + rank) * self.micro_batch_size
            while len(batch) < self.micro_batch_size:
                epoch, start = divmod(position + len(batch), self.num_records)
                batch += order(epoch)[start : start + self.micro_batch_size - len(batch)].tolist()
            yield batch
