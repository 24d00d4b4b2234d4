"""Whole series, read piece by piece: a connection and memory are needed for a piece, however many there are.

A tail may be sealed while its attempt is read (services.tracker). So an attempt and its tail are read first, in one
statement, then the chunks; what lies in both is cut off the tail.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import asyncpg

from services.gateway.downsample import archived_from
from services.gateway.past import Database
from services.gateway.series import VALIDATION, Owner
from shared.series import Packed, Points, read_raw, unpack

TRIALS, ATTEMPTS, CHUNKS = 16, 32, 16  # read at a time

_TRIALS = "SELECT t.id, t.index FROM trials t WHERE {owner} = $1 AND t.index > $2 ORDER BY t.index LIMIT $3"
_ATTEMPTS = """
SELECT a.trial_id, a."group", a.name, a.epoch, a.id, a.first_step FROM metric_attempts a
WHERE a.trial_id = ANY($1::text[]) AND ($2::text IS NULL OR a."group" = $2) AND ($3::text IS NULL OR a.name = $3)
ORDER BY array_position($1::text[], a.trial_id), a."group", a.name, a.epoch
"""
_TAILS = """
SELECT a.id, a.sealed_to IS NOT NULL AS has_chunks, m.steps, m.times, m.values
FROM metric_attempts a LEFT JOIN metric_tails m ON m.attempt_id = a.id
WHERE a.id = ANY($1::bigint[]) ORDER BY a.id, m.last_step
"""
_CHUNKS = """
SELECT c.steps, c.times, c.values FROM metric_chunks c
WHERE c.attempt_id = $1 AND c.last_step > $2 ORDER BY c.first_step LIMIT $3
"""
_VALIDATIONS = """
SELECT m.trial_id, m."group", m.name, m.epoch, array_agg(m.step ORDER BY m.step) AS steps,
       array_agg((extract(epoch FROM m.time) * 1000000)::bigint ORDER BY m.step) AS times,
       array_agg(m.value ORDER BY m.step) AS values
FROM metrics m
WHERE m.trial_id = ANY($1::text[]) AND m."group" = $2 AND ($3::text IS NULL OR m.name = $3)
GROUP BY m.trial_id, m."group", m.name, m.epoch ORDER BY array_position($1::text[], m.trial_id), m.name, m.epoch
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which series; None: all. Archived points are those that a later attempt reported again."""

    group: str | None = None
    name: str | None = None
    archived: bool = False
    from_step: int = 0


class Origin(NamedTuple):
    """Which attempt of which series."""

    trial_id: str
    group: str
    name: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Points of one attempt that follow on each other."""

    origin: Origin
    is_archived: bool
    points: Points


async def runs(database: Database, owner: Owner, owner_id: str, selection: Selection) -> AsyncIterator[Run]:
    """Yield the points of a trial or of all trials of an experiment; those of a series by step."""
    last = -1
    while trials := await database.fetch(_TRIALS.format(owner=owner), owner_id, last, TRIALS):
        last = trials[-1]["index"]
        trial_ids = [row["id"] for row in trials]
        if selection.group != VALIDATION:
            async for run in _chunked(database, trial_ids, selection, after=selection.from_step - 1):
                yield run
        if selection.group in {None, VALIDATION}:
            for run in await _validations(database, trial_ids, selection, after=selection.from_step - 1):
                yield run


async def series(database: Database, trial_id: str, selection: Selection, *, after: int) -> AsyncIterator[Points]:
    """Yield the points of one series after a step."""
    if selection.group == VALIDATION:
        for run in await _validations(database, [trial_id], selection, after=after):
            yield run.points
    else:
        async for run in _chunked(database, [trial_id], selection, after=after):
            yield run.points


async def _chunked(
    database: Database, trial_ids: Sequence[str], selection: Selection, *, after: int = -1
) -> AsyncIterator[Run]:
    attempts = _with_floors(
        await database.fetch(_ATTEMPTS, trial_ids, selection.group, selection.name), lambda row: row["first_step"]
    )
    for start in range(0, len(attempts), ATTEMPTS):
        part = attempts[start : start + ATTEMPTS]
        tails: defaultdict[int, list[asyncpg.Record]] = defaultdict(list)
        for row in await database.fetch(_TAILS, [attempt["id"] for attempt, _ in part]):
            tails[row["id"]].append(row)
        for attempt, floor in part:
            async for points in _attempt(database, attempt["id"], tails[attempt["id"]], after):
                for run in _cut(Origin(*attempt[:4]), floor, points, archived=selection.archived):
                    yield run


async def _attempt(
    database: Database, attempt_id: int, tail: Sequence[asyncpg.Record], last_step: int
) -> AsyncIterator[Points]:
    if tail and tail[0]["has_chunks"]:
        while rows := await database.fetch(_CHUNKS, attempt_id, last_step, CHUNKS):
            for row in rows:
                points = unpack(Packed(*row))
                start = bisect_right(points.steps, last_step)  # chunks may have been divided anew
                yield points.part(start, len(points))
                last_step = points.steps[-1]
    for row in tail:
        if row["steps"] is not None:
            points = read_raw(Packed(*row[2:]))
            yield points.part(bisect_right(points.steps, last_step), len(points))


async def _validations(database: Database, trial_ids: Sequence[str], selection: Selection, *, after: int) -> list[Run]:
    rows = await database.fetch(_VALIDATIONS, trial_ids, VALIDATION, selection.name)
    return [
        run
        for row, floor in _with_floors(rows, lambda row: row["steps"][0])
        for run in _cut(
            Origin(*row[:4]),
            floor,
            _after(row, after),
            archived=selection.archived,
        )
    ]


def _after(row: asyncpg.Record, step: int) -> Points:
    points = Points(steps=array("q", row["steps"]), times_us=array("q", row["times"]), values=array("d", row["values"]))
    return points.part(bisect_right(points.steps, step), len(points))


def _with_floors(
    rows: Sequence[asyncpg.Record], first_step: Callable[[asyncpg.Record], int]
) -> list[tuple[asyncpg.Record, int | None]]:
    """Return the attempts, which are in order, each with the step from which it is archived."""
    found: list[tuple[asyncpg.Record, int | None]] = []
    for _, same in groupby(rows, lambda row: row[:3]):
        attempts = list(same)
        found += zip(attempts, archived_from([first_step(row) for row in attempts]), strict=True)
    return found


def _cut(origin: Origin, floor: int | None, points: Points, *, archived: bool) -> Iterator[Run]:
    end = len(points) if floor is None else bisect_left(points.steps, floor)
    if end:
        yield Run(origin=origin, is_archived=False, points=points.part(0, end))
    if archived and end < len(points):
        yield Run(origin=origin, is_archived=True, points=points.part(end, len(points)))
