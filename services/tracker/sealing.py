"""Merges tails and new points into the chunks of their attempts, many attempts in few statements."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import asyncpg

from services.tracker.chunks import Leaf, placed, split
from shared.series import BLOCK_POINTS, Packed, Points, condense, joined, pack, read_raw, unpack

# The chunk that each attempt's first point falls into, and all after it.
_LEAVES = """
SELECT c.attempt_id, c.first_step, c.last_step, c.num_points
FROM unnest($1::bigint[], $2::bigint[]) AS w (attempt_id, step)
JOIN metric_chunks c ON c.attempt_id = w.attempt_id AND c.first_step >= COALESCE(
    (SELECT max(p.first_step) FROM metric_chunks p WHERE p.attempt_id = w.attempt_id AND p.first_step <= w.step), w.step
)
ORDER BY c.attempt_id, c.first_step
"""
_CHUNKS = """
SELECT c.attempt_id, c.first_step, c.steps, c.times, c.values FROM metric_chunks c
JOIN unnest($1::bigint[], $2::bigint[]) AS w (attempt_id, first_step) USING (attempt_id, first_step)
"""
_TAKE_TAILS = "DELETE FROM metric_tails WHERE attempt_id = ANY($1::bigint[]) RETURNING attempt_id, steps, times, values"
_DROP = """
DELETE FROM metric_chunks c USING unnest($1::bigint[], $2::bigint[]) AS w (attempt_id, first_step)
WHERE c.attempt_id = w.attempt_id AND c.first_step = w.first_step
"""
_SEALED = """
UPDATE metric_attempts a SET sealed_to = w.step
FROM unnest($1::bigint[], $2::bigint[]) AS w (id, step) WHERE a.id = w.id
"""
TAIL_COLUMNS = ("attempt_id", "last_step", "num_points", "steps", "times", "values")
_CHUNK_COLUMNS = (
    "attempt_id", "first_step", "first_value", "low_step", "low_value", "high_step", "high_value", "last_step",
    "last_value", "num_points", "sketch", "steps", "times", "values",
)  # fmt: skip

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
ChunkId: TypeAlias = tuple[int, int]  # attempt and first step


async def seal(connection: Connection, due: Mapping[int, Points]) -> dict[int, int]:
    """Merge the points and the tails of their attempts into chunks; return the last step of each attempt."""
    parts = {attempt_id: [points] for attempt_id, points in due.items()}
    for row in await connection.fetch(_TAKE_TAILS, list(due)):
        parts[row["attempt_id"]].append(read_raw(Packed(*row[1:])))
    merged = {attempt_id: joined(sorted(found, key=_first_step)) for attempt_id, found in parts.items()}
    leaves = await _leaves(connection, merged)
    runs = [
        (attempt_id, leaf, run)
        for attempt_id, points in merged.items()
        for leaf, run in placed(leaves[attempt_id], points)
    ]
    touched = [(attempt_id, leaf.first_step) for attempt_id, leaf, _ in runs if leaf is not None]
    stored = await _chunks(connection, touched)
    replaced: list[ChunkId] = []
    written: list[tuple[object, ...]] = []
    for attempt_id, leaf, run in runs:
        before = None if leaf is None else stored[attempt_id, leaf.first_step]
        points = run if before is None else joined([before, run])
        if points == before:
            continue  # all of it was there
        if leaf is not None:
            replaced.append((attempt_id, leaf.first_step))
        is_last = leaf is None or leaf is leaves[attempt_id][-1]
        written += (_row(attempt_id, chunk) for chunk in split(points, is_last=is_last))
    if replaced:
        await connection.execute(_DROP, *map(list, zip(*replaced, strict=True)))
    if written:
        await connection.copy_records_to_table("metric_chunks", records=written, columns=_CHUNK_COLUMNS)
    ends = {
        attempt_id: max(points.steps[-1], leaves[attempt_id][-1].last_step if leaves[attempt_id] else 0)
        for attempt_id, points in merged.items()
    }
    await connection.execute(_SEALED, list(ends), list(ends.values()))
    return ends


async def _leaves(connection: Connection, merged: Mapping[int, Points]) -> Mapping[int, Sequence[Leaf]]:
    rows = await connection.fetch(_LEAVES, list(merged), [points.steps[0] for points in merged.values()])
    leaves: defaultdict[int, list[Leaf]] = defaultdict(list)
    for row in rows:
        leaves[row["attempt_id"]].append(Leaf(*row[1:]))
    return leaves


async def _chunks(connection: Connection, touched: Sequence[ChunkId]) -> dict[ChunkId, Points]:
    if not touched:
        return {}
    rows = await connection.fetch(_CHUNKS, *map(list, zip(*touched, strict=True)))
    return {(row["attempt_id"], row["first_step"]): unpack(Packed(*row[2:])) for row in rows}


def _row(attempt_id: int, points: Points) -> tuple[object, ...]:
    summary = [column[0] for column in condense(points, len(points))]
    return attempt_id, *summary, len(points), condense(points, BLOCK_POINTS).pack(), *pack(points)


def _first_step(points: Points) -> int:
    return points.steps[0]
