"""Which checkpoints of an experiment that has ended are kept: pure rules over what the read model knows of them.

As in Determined: the union of the best `save_experiment_best` of all, the best `save_trial_best` and the newest
`save_trial_latest` of each trial. Newer is what a later attempt saved, however late an earlier one's upload was: from
that the trial goes on, too. Best goes by the searcher's metric in a validation of the very step by the attempt that
saved it; a checkpoint without one is never among the best. Of equally good ones the older counts.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import msgspec


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """The experiment file's checkpoint_storage."""

    save_experiment_best: int = 0
    save_trial_best: int = 1
    save_trial_latest: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A checkpoint in the store; `metric` is the searcher's, smaller is better, None if it was not validated."""

    checkpoint_id: str
    trial_id: str
    epoch: int  # the attempt that saved it
    saved_seq: int
    metric: float | None


def superfluous(stored: Iterable[Stored], retention: Retention, needed: AbstractSet[str]) -> list[str]:
    """Return the ids of those to delete, in the order they were saved. What is `needed` elsewhere is kept."""
    by_trial = sorted(stored, key=attrgetter("trial_id", "epoch", "saved_seq"))
    kept = set(needed) | _best(by_trial, retention.save_experiment_best)
    for _, group in groupby(by_trial, key=attrgetter("trial_id")):
        of_trial = list(group)
        kept |= _best(of_trial, retention.save_trial_best)
        kept |= {checkpoint.checkpoint_id for checkpoint in _last(of_trial, retention.save_trial_latest)}
    in_order = sorted(by_trial, key=attrgetter("saved_seq"))
    return [checkpoint.checkpoint_id for checkpoint in in_order if checkpoint.checkpoint_id not in kept]


def _best(stored: Sequence[Stored], count: int) -> set[str]:
    validated = [checkpoint for checkpoint in stored if checkpoint.metric is not None]
    validated.sort(key=attrgetter("metric", "epoch", "saved_seq"))
    return {checkpoint.checkpoint_id for checkpoint in validated[:count]}


def _last(stored: Sequence[Stored], count: int) -> Sequence[Stored]:
    return stored[max(0, len(stored) - count) :]
