"""Series for charts, read at the resolution that is asked for: summaries of chunks, their sketches, or their points."""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

import asyncpg

from services.gateway.downsample import POINTS_PER_STRETCH, archived_from, thinned
from services.gateway.past import Database
from services.gateway.views.metrics import MetricName, MetricNames, Series, SeriesList
from shared.series import (
    BLOCK_POINTS,
    CHUNK_POINTS,
    Blocks,
    Floats,
    Integers,
    Packed,
    read_raw,
    unpack_floats,
    unpack_integers,
)

MAX_STEP = 2**53
VALIDATION = "validation"

_BLOCKS_PER_CHUNK = CHUNK_POINTS // BLOCK_POINTS

_ATTEMPTS = """
SELECT a.trial_id, a.name, a.id, a.first_step
FROM metric_attempts a JOIN trials t ON t.id = a.trial_id
WHERE {owner} = $1 AND a."group" = $2 AND ($3::text IS NULL OR a.name = $3) AND ($4::bigint IS NULL OR a.epoch = $4)
ORDER BY t.index, a.trial_id, a.name, a.epoch
"""
_CHUNKS = """
SELECT c.attempt_id, c.num_points, c.first_step, c.first_value, c.low_step, c.low_value, c.high_step, c.high_value,
       c.last_step, c.last_value
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w (attempt_id, start, stop)
JOIN metric_chunks c ON c.attempt_id = w.attempt_id AND c.last_step >= w.start AND c.first_step <= w.stop
ORDER BY c.attempt_id, c.first_step
"""
_TAILS = """
SELECT m.attempt_id, m.steps, m.times, m.values
FROM unnest($1::bigint[], $2::bigint[]) AS w (attempt_id, start)
JOIN metric_tails m ON m.attempt_id = w.attempt_id AND m.last_step >= w.start
ORDER BY m.attempt_id, m.last_step
"""
_PARTS = """
SELECT c.attempt_id, c.first_step, {columns}
FROM unnest($1::bigint[], $2::bigint[]) AS w (attempt_id, first_step)
JOIN metric_chunks c USING (attempt_id, first_step)
"""
_VALIDATIONS = """
SELECT m.trial_id, m.name, array_agg(m.step ORDER BY m.step) AS steps, array_agg(m.value ORDER BY m.step) AS values
FROM metrics m JOIN trials t ON t.id = m.trial_id
WHERE {owner} = $1 AND m."group" = $2 AND ($3::text IS NULL OR m.name = $3) AND ($4::bigint IS NULL OR m.epoch = $4)
GROUP BY t.index, m.trial_id, m.name, m.epoch ORDER BY t.index, m.trial_id, m.name, m.epoch
"""

_NAMES = """
SELECT a."group", a.name FROM metric_attempts a JOIN trials t ON t.id = a.trial_id WHERE {owner} = $1
UNION
SELECT m."group", m.name FROM metrics m JOIN trials t ON t.id = m.trial_id WHERE {owner} = $1
ORDER BY 1, 2
"""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Owner: TypeAlias = Literal["t.id", "t.experiment_id"]
ByAttempt: TypeAlias = Mapping[int, Sequence[asyncpg.Record]]
ChunkId: TypeAlias = tuple[int, int]  # attempt and first step


class Resolution(Enum):
    """What of a chunk is read, coarsest first."""

    SUMMARY = 0  # one block, which is in its row
    SKETCH = 1
    POINTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of the series, and how many points of each at most. With `attempt`, all that this one reported, also
    what is archived; without, what counts."""

    from_step: int = 0
    to_step: int = MAX_STEP
    max_points: int
    attempt: int | None = None


class Piece(NamedTuple):
    """The part of an attempt that is wanted: what no later attempt has reported again, within the window."""

    attempt_id: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series: its pieces by epoch, which follow on each other."""

    trial_id: str
    name: str
    pieces: tuple[Piece, ...]


async def read(
    database: Database, owner: Owner, owner_id: str, group: str, name: str | None, window: Window
) -> SeriesList:
    """Return the series of a trial or of all trials of an experiment, by trial and name."""
    async with database.acquire() as connection:
        if group == VALIDATION:
            rows = await connection.fetch(_VALIDATIONS.format(owner=owner), owner_id, group, name, window.attempt)
            found = [(*key, _reported(list(same), window)) for key, same in groupby(rows, _key)]
        else:
            async with connection.transaction(isolation="repeatable_read", readonly=True):  # a tail may become a chunk
                rows = await connection.fetch(_ATTEMPTS.format(owner=owner), owner_id, group, name, window.attempt)
                lines = [_line(*key, list(same), window) for key, same in groupby(rows, _key)]
                found = await _chunked(connection, lines, window.max_points)
    return SeriesList(
        series=[
            Series(trial_id=trial_id, name=name, group=group, points=thinned(blocks, window.max_points))
            for trial_id, name, blocks in found
        ]
    )


async def names(database: Database, owner: Owner, owner_id: str) -> MetricNames:
    """Return which metrics a trial or an experiment has, by group and name."""
    rows = await database.fetch(_NAMES.format(owner=owner), owner_id)
    return MetricNames(items=[MetricName(group=row["group"], name=row["name"]) for row in rows])


def _key(row: asyncpg.Record) -> tuple[str, str]:
    return row["trial_id"], row["name"]


def _reported(attempts: Sequence[asyncpg.Record], window: Window) -> Blocks:
    """Return a series that is stored a row a point."""
    blocks = Blocks.none()
    archived = archived_from([row["steps"][0] for row in attempts])
    for row, floor in zip(attempts, archived, strict=True):
        piece = _piece(0, floor, window)
        blocks.extend(_cut(piece, array("q", row["steps"]), array("d", row["values"])))
    return blocks


def _line(trial_id: str, name: str, attempts: Sequence[asyncpg.Record], window: Window) -> Line:
    archived = archived_from([row["first_step"] for row in attempts])
    pieces = tuple(_piece(row["id"], floor, window) for row, floor in zip(attempts, archived, strict=True))
    return Line(trial_id=trial_id, name=name, pieces=pieces)


def _piece(attempt_id: int, floor: int | None, window: Window) -> Piece:
    return Piece(attempt_id, window.from_step, window.to_step if floor is None else min(window.to_step, floor - 1))


async def _chunked(connection: Connection, lines: Sequence[Line], max_points: int) -> list[tuple[str, str, Blocks]]:
    pieces = [piece for line in lines for piece in line.pieces if piece.start <= piece.stop]
    attempt_ids, starts, stops = map(list, zip(*pieces, strict=True)) if pieces else ([], [], [])
    chunks = _by_attempt(await connection.fetch(_CHUNKS, attempt_ids, starts, stops))
    tails = _by_attempt(await connection.fetch(_TAILS, attempt_ids, starts))
    chosen: dict[ChunkId, Resolution] = {}
    for line in lines:
        chosen |= resolutions(line.pieces, chunks, max_points)
    sketches = await _parts(connection, "c.sketch", _having(chosen, Resolution.SKETCH))
    points = await _parts(connection, "c.steps, c.values", _having(chosen, Resolution.POINTS))

    def add(blocks: Blocks, piece: Piece, chunk: asyncpg.Record) -> None:
        chunk_id = (piece.attempt_id, chunk["first_step"])
        match chosen[chunk_id]:
            case Resolution.SUMMARY:
                blocks.append(chunk[2:])
            case Resolution.SKETCH:
                blocks.extend(Blocks.unpack(sketches[chunk_id][2]))
            case Resolution.POINTS:
                _, _, steps, values = points[chunk_id]
                blocks.extend(_cut(piece, unpack_integers(steps), unpack_floats(values)))

    def whole(line: Line) -> Blocks:
        blocks = Blocks.none()
        for piece in line.pieces:
            for chunk in chunks.get(piece.attempt_id, ()):
                add(blocks, piece, chunk)
            for tail in tails.get(piece.attempt_id, ()):
                raw = read_raw(Packed(*tail[1:]))
                blocks.extend(_cut(piece, raw.steps, raw.values))
        return blocks

    return [(line.trial_id, line.name, whole(line)) for line in lines]


def resolutions(pieces: Iterable[Piece], chunks: ByAttempt, max_points: int) -> dict[ChunkId, Resolution]:
    """Return what to read of each chunk of a series: the least that has a block for every other stretch of the chart.

    A chunk of which only a part is wanted is read in full, because its blocks tell of other points too.
    """
    chosen: dict[ChunkId, Resolution] = {}
    num_chunks = num_points = 0
    for piece in pieces:
        for chunk in chunks.get(piece.attempt_id, ()):
            is_cut = chunk["first_step"] < piece.start or chunk["last_step"] > piece.stop
            chosen[piece.attempt_id, chunk["first_step"]] = Resolution.POINTS if is_cut else Resolution.SUMMARY
            num_chunks += not is_cut
            num_points += 0 if is_cut else chunk["num_points"]
    num_blocks = max(1, max_points // POINTS_PER_STRETCH // 2)
    if num_points <= max_points or num_chunks * _BLOCKS_PER_CHUNK < num_blocks:
        return dict.fromkeys(chosen, Resolution.POINTS)
    if num_chunks >= num_blocks:
        return chosen
    return {key: Resolution.SKETCH if found is Resolution.SUMMARY else found for key, found in chosen.items()}


async def _parts(connection: Connection, columns: str, chunk_ids: Sequence[ChunkId]) -> dict[ChunkId, asyncpg.Record]:
    if not chunk_ids:
        return {}
    rows = await connection.fetch(_PARTS.format(columns=columns), *map(list, zip(*chunk_ids, strict=True)))
    return {(row["attempt_id"], row["first_step"]): row for row in rows}


def _having(chosen: Mapping[ChunkId, Resolution], resolution: Resolution) -> list[ChunkId]:
    return [chunk_id for chunk_id, found in chosen.items() if found is resolution]


def _by_attempt(rows: Sequence[asyncpg.Record]) -> dict[int, list[asyncpg.Record]]:
    found: defaultdict[int, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        found[row["attempt_id"]].append(row)
    return found


def _cut(piece: Piece, steps: Integers, values: Floats) -> Blocks:
    """Return the points of a piece, each as a block."""
    start, stop = bisect_left(steps, piece.start), bisect_right(steps, piece.stop)
    return Blocks.single(steps[start:stop], values[start:stop])
