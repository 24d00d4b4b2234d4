"""Writes the training metrics of attempts: what is little as a tail row, what has come together into chunks.

A tail row is what one batch of the stream brought for one attempt. When an attempt has many of them, or when points
come that do not lie after all that is there, all are sealed in the same transaction: so chunks and tails follow on each
other, a point is stored once and written about twice, and writing the same points again changes nothing.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeAlias

import asyncpg

from services.tracker import sealing
from shared.series import CHUNK_POINTS, Points, write_raw

MAX_TAIL_ROWS = 64
MAX_REMEMBERED = 20_000
NOTHING = -1

_ATTEMPTS = """
INSERT INTO metric_attempts AS a (trial_id, "group", name, epoch, first_step)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
ON CONFLICT (trial_id, "group", name, epoch) DO UPDATE SET first_step = LEAST(a.first_step, EXCLUDED.first_step)
RETURNING trial_id, "group", name, epoch, id, first_step, sealed_to
"""
_TAIL_SIZES = """
SELECT attempt_id, max(last_step) AS last_step, count(*) AS num_rows, sum(num_points)::bigint AS num_points
FROM metric_tails WHERE attempt_id = ANY($1::bigint[]) GROUP BY attempt_id
"""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Key(NamedTuple):
    """One attempt's part of a series."""

    trial_id: str
    group: str
    name: str
    epoch: int


class Attempt(NamedTuple):
    """What is stored of one attempt."""

    attempt_id: int
    first_step: int
    last_step: int
    num_tail_rows: int
    num_tail_points: int

    def is_due(self, points: Points) -> bool:
        """Whether its tail is to be sealed together with the points, rather than grow by them."""
        return (
            points.steps[0] <= self.last_step
            or self.num_tail_rows + 1 > MAX_TAIL_ROWS
            or self.num_tail_points + len(points) >= CHUNK_POINTS
        )

    def extended(self, points: Points) -> "Attempt":
        """Return the attempt with one more tail row."""
        return self._replace(
            last_step=points.steps[-1],
            num_tail_rows=self.num_tail_rows + 1,
            num_tail_points=self.num_tail_points + len(points),
        )

    def sealed(self, last_step: int) -> "Attempt":
        """Return the attempt without a tail."""
        return self._replace(last_step=last_step, num_tail_rows=0, num_tail_points=0)


class Attempts:
    """Writes points. Remembers the attempts written last: nobody else writes while this instance holds the position.

    After a transaction that failed, `forget` must be called.
    """

    def __init__(self) -> None:
        self._known: dict[Key, Attempt] = {}

    def forget(self) -> None:
        """Ask the database again."""
        self._known.clear()

    async def write(self, connection: Connection, found: Mapping[Key, Points]) -> None:
        """Write the points of each attempt; there is at least one of each."""
        await self._look_up(connection, found)
        due: dict[int, Points] = {}
        tails: list[tuple[object, ...]] = []
        by_id: dict[int, Key] = {}
        for key, points in found.items():
            attempt = self._known[key]
            if attempt.is_due(points):
                due[attempt.attempt_id] = points
                by_id[attempt.attempt_id] = key
            else:
                tails.append((attempt.attempt_id, points.steps[-1], len(points), *write_raw(points)))
                self._known[key] = attempt.extended(points)
        if tails:
            await connection.copy_records_to_table("metric_tails", records=tails, columns=sealing.TAIL_COLUMNS)
        if due:
            for attempt_id, last_step in (await sealing.seal(connection, due)).items():
                key = by_id[attempt_id]
                self._known[key] = self._known[key].sealed(last_step)

    async def _look_up(self, connection: Connection, found: Mapping[Key, Points]) -> None:
        """Know all of the attempts, and store those that are new or begin earlier than they did."""
        missing = []
        for key, points in found.items():
            attempt = self._known.pop(key, None)
            if attempt is not None:
                self._known[key] = attempt  # what was used last is forgotten last
            if attempt is None or points.steps[0] < attempt.first_step:
                missing.append((*key, points.steps[0]))
        if missing:
            rows = await connection.fetch(_ATTEMPTS, *map(list, zip(*missing, strict=True)))
            ids = [row["id"] for row in rows]
            sizes = {row["attempt_id"]: row for row in await connection.fetch(_TAIL_SIZES, ids)}
            for row in rows:
                self._known[Key(*row[:4])] = _attempt(row, sizes.get(row["id"]))
        self._forget_oldest(found)

    def _forget_oldest(self, needed: Collection[Key]) -> None:
        for key in list(self._known)[: max(0, len(self._known) - MAX_REMEMBERED)]:
            if key not in needed:
                del self._known[key]


def _attempt(row: asyncpg.Record, size: asyncpg.Record | None) -> Attempt:
    return Attempt(
        attempt_id=row["id"],
        first_step=row["first_step"],
        last_step=size["last_step"] if size else NOTHING if row["sealed_to"] is None else row["sealed_to"],
        num_tail_rows=size["num_rows"] if size else 0,
        num_tail_points=size["num_points"] if size else 0,
    )
