"""Slots over time: how many slot-seconds who has used, and how full the pools were."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import asyncpg

from services.gateway.past import Database, ReadModel
from services.gateway.views.usage import PoolHistory, SlotHistory, SlotUsage, SlotUsageItem, Usage

By = Literal["user", "workspace", "project", "experiment", "pool"]

#: What use is summed by, over an allocation `o` of an experiment `e`. A project is one of its workspace.
_KEYS: dict[By, str] = {
    "user": "e.owner, '', ''",
    "workspace": "'', e.workspace, ''",
    "project": "e.project, e.workspace, ''",
    "experiment": "e.name, e.workspace, e.id",
    "pool": "o.pool_id, '', ''",
}
_USED = """
SELECT k.name, k.workspace, k.experiment_id, count(*) AS num_allocations, count(DISTINCT o.trial_id) AS num_trials,
       sum(o.num_slots * extract(epoch FROM LEAST(o.to_at, $2) - GREATEST(o.from_at, $1)))::float8 AS slot_s
FROM occupancy o JOIN experiments e ON e.id = o.experiment_id
CROSS JOIN LATERAL (SELECT {keys}) AS k (name, workspace, experiment_id)
WHERE o.from_at < $2 AND (o.to_at > $1 OR o.to_at IS NULL) AND ($3::text[] IS NULL OR e.workspace = ANY($3))
GROUP BY 1, 2, 3 ORDER BY slot_s DESC, 1, 2, 3
"""
# Each stretch's share of what was held or offered, by pool.
_FILLED = """
SELECT s.number, o.pool_id,
       sum(o.num_slots * extract(epoch FROM LEAST(o.to_at, s.stop) - GREATEST(o.from_at, s.start)))::float8 AS slot_s
FROM (SELECT n AS number, $1::timestamptz + n * $3::interval AS start,
             LEAST($1::timestamptz + (n + 1) * $3::interval, $2::timestamptz) AS stop
      FROM generate_series(0, $4::int - 1) n) s
JOIN {table} o ON o.from_at < s.stop AND o.from_at < $2 AND (o.to_at > s.start OR o.to_at IS NULL)
GROUP BY 1, 2
"""

_NUM_SLOTS = "(SELECT COALESCE(sum(jsonb_array_length(m->'slots')), 0) FROM jsonb_array_elements(a.members) m)"
_SPENT = f"""
SELECT count(*) AS allocations,
       COALESCE(sum({_NUM_SLOTS} * extract(epoch FROM COALESCE(a.released_at, $2) - a.allocated_at)), 0)::float8
           AS slot_seconds,
       COALESCE(sum({_NUM_SLOTS}) FILTER (WHERE a.released_at IS NULL), 0)::int AS slots_held
FROM allocations a WHERE a.experiment_id = $1
"""


async def spent(database: ReadModel, experiment_id: str, now: datetime) -> Usage:
    """Return what an experiment has had so far."""
    row = await database.fetchrow(_SPENT, experiment_id, now)
    assert row is not None
    return Usage(slot_seconds=row["slot_seconds"], allocations=row["allocations"], slots_held=row["slots_held"], at=now)


async def used(
    database: Database, since: datetime, until: datetime, by: By, workspaces: frozenset[str] | None
) -> SlotUsage:
    """Return the slot-seconds of a time by user or by something else, of these workspaces (None: of all)."""
    mine = None if workspaces is None else [*workspaces]
    rows = await database.fetch(_USED.format(keys=_KEYS[by]), since, until, mine)
    items = [SlotUsageItem(**row) for row in rows]
    return SlotUsage(since=since, until=until, by=by, slot_s=sum(item.slot_s for item in items), items=items)


async def filled(database: Database, since: datetime, until: datetime, num_stretches: int) -> SlotHistory:
    """Return how many slots were held, and there, on average in each of so many stretches of a time, by pool."""
    length = max((until - since) / num_stretches, timedelta(microseconds=1))
    held, offered = [
        await database.fetch(_FILLED.format(table=table), since, until, length, num_stretches)
        for table in ("occupancy", "presence")
    ]
    pools = sorted({row["pool_id"] for row in (*held, *offered)})
    return SlotHistory(
        since=since,
        until=until,
        stretch_s=length.total_seconds(),
        pools=[
            PoolHistory(
                pool=pool,
                held=_means(held, pool, num_stretches, length),
                slots=_means(offered, pool, num_stretches, length),
            )
            for pool in pools
        ],
    )


def _means(rows: Sequence[asyncpg.Record], pool: str, num_stretches: int, length: timedelta) -> list[float]:
    found = {row["number"]: row["slot_s"] / length.total_seconds() for row in rows if row["pool_id"] == pool}
    return [round(found.get(number, 0.0), 6) for number in range(num_stretches)]
