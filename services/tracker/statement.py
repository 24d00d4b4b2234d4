"""A write of the read model, and in which order many of them run."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple


class At(NamedTuple):
    """Where and when an event stands on the log, and who made it."""

    seq: int
    time: datetime
    actor: str = ""


class Statement(NamedTuple):
    """One parameterised write; statements that share a key keep their order."""

    sql: str
    args: tuple[object, ...]
    keys: tuple[str, ...]


def in_waves(batch: Iterable[Statement]) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    """Group a batch so that each SQL runs few times, keeping the order of statements that share a key."""
    waves: list[dict[str, list[tuple[object, ...]]]] = []
    last: dict[str, tuple[int, str]] = {}  # key -> wave and SQL of its last statement
    for sql, args, keys in batch:
        before = [last[key] for key in keys if key in last]
        wave = max((number if previous == sql else number + 1 for number, previous in before), default=0)
        if wave == len(waves):
            waves.append({})
        waves[wave].setdefault(sql, []).append(args)
        last |= dict.fromkeys(keys, (wave, sql))
    for one in waves:
        yield from one.items()
