"""How many slots were held, and by whom they were paid: sums over the allocations in the read model."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import asyncpg

from services.gateway import views
from services.gateway.past import ReadModel

MOST_ALLOCATIONS = 200_000

_NUM_SLOTS = "(SELECT COALESCE(sum(jsonb_array_length(m->'slots')), 0) FROM jsonb_array_elements(a.members) m)"
_HELD = f"""
SELECT a.pool_id, a.allocated_at, a.released_at, {_NUM_SLOTS} AS slots
FROM allocations a
WHERE a.allocated_at < $2 AND (a.released_at IS NULL OR a.released_at > $1)
ORDER BY a.allocated_at DESC LIMIT $3
"""
_SPENT = f"""
SELECT count(*) AS allocations,
       COALESCE(sum({_NUM_SLOTS} * extract(epoch FROM COALESCE(a.released_at, $2) - a.allocated_at)), 0)::float8
           AS slot_seconds,
       COALESCE(sum({_NUM_SLOTS}) FILTER (WHERE a.released_at IS NULL), 0)::int AS slots_held
FROM allocations a WHERE a.experiment_id = $1
"""


async def usage(database: ReadModel, experiment_id: str, now: datetime) -> views.Usage:
    """Return what an experiment has had so far."""
    row = await database.fetchrow(_SPENT, experiment_id, now)
    assert row is not None
    return views.Usage(
        slot_seconds=row["slot_seconds"], allocations=row["allocations"], slots_held=row["slots_held"], at=now
    )


async def occupancy(database: ReadModel, start: datetime, end: datetime, num_points: int) -> views.Occupancy:
    """Return the mean number of slots held in each of `num_points` equal stretches of time, by pool."""
    rows = await database.fetch(_HELD, start, end, MOST_ALLOCATIONS)
    pools: defaultdict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        pools[row["pool_id"]].append(row)
    held = {
        pool: means([(r["allocated_at"], r["released_at"], r["slots"]) for r in found], start, end, num_points)
        for pool, found in sorted(pools.items())
    }
    return views.Occupancy(start=start, stretch_s=(end - start).total_seconds() / num_points, held=held)


Holding = tuple[datetime, datetime | None, int]  # from, until (None: still), slots


def means(holdings: Iterable[Holding], start: datetime, end: datetime, num_points: int) -> Sequence[float]:
    """Return how many slots were held in each stretch, as a mean over it; a holding counts for its part of one."""
    stretch_s = (end - start).total_seconds() / num_points
    sums = [0.0] * num_points
    for since, until, slots in holdings:
        begin_s = max(0.0, (since - start).total_seconds())
        end_s = min((end - start).total_seconds(), ((until or end) - start).total_seconds())
        number = int(begin_s // stretch_s)
        while number < num_points and number * stretch_s < end_s:
            part_s = min(end_s, (number + 1) * stretch_s) - max(begin_s, number * stretch_s)
            sums[number] += slots * part_s / stretch_s
            number += 1
    return [round(value, 3) for value in sums]


def window(seconds: float, now: datetime) -> tuple[datetime, datetime]:
    """Return the last so many seconds."""
    return now - timedelta(seconds=seconds), now
