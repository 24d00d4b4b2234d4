"""The tables that most events change, folded in memory: a batch reads its rows once and writes them once.

A statement for each event would have PostgreSQL change the same few rows again and again. So rows are fetched by key,
changed here, and written together: rows that begin, rows that changed, and the versions in between, which go to
`history` as the trigger on other tables has it (0004_history.sql). A connection that has said TAKE_OVER keeps the
history of these tables itself.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

import asyncpg

from services.tracker.statement import At

MAX_REMEMBERED = 20_000  # rows of a table

#: Keys are looked up by index, however small the table was when its statistics were made.
TAKE_OVER = "SET tm.history = 'bulk'; SET random_page_cost = 1.1; SET enable_seqscan = off"

_COLUMNS = """
SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A table with the key `id`: the column that says by which event a row began, and those that events change."""

    name: str
    born: str
    changing: tuple[str, ...]


class Table:
    """The rows of one table that were asked for last. Nobody else writes while this instance holds the position."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._types: dict[str, str] = {}
        self._versioned: tuple[str, ...] = ()
        self._rows: dict[str, Row] = {}
        self._changed: dict[str, Row] = {}
        self._versions: list[tuple[Any, ...]] = []

    async def prepare(self, connection: Connection) -> None:
        """Learn the table's columns, and remember no row: what was written last may not be there."""
        self._rows, self._changed, self._versions = {}, {}, []
        self._types = {row["name"]: row["type"] for row in await connection.fetch(_COLUMNS, self._shape.name)}
        kept = await connection.fetch(_COLUMNS, f"history.{self._shape.name}")
        self._versioned = tuple(row["name"] for row in kept if row["name"] != "until_seq")

    def forget(self, key: str) -> None:
        """Ask the database for a row again."""
        self._rows.pop(key, None)

    def known(self) -> Iterable[Row]:
        """Return the rows that are remembered."""
        return self._rows.values()

    def get(self, key: str, at: At) -> Row | None:
        """Return a row that was fetched; None if there was none yet when the event happened."""
        row = self._rows.get(key)
        return None if row is None or row[self._shape.born] > at.seq else row

    def change(self, row: Row, at: At, **values: object) -> None:
        """Give a row other values, and keep the version before."""
        if row["seq"] < at.seq:
            self._versions.append((*itemgetter(*self._versioned)(row), at.seq))
        row.update(values)
        row["seq"] = at.seq
        self._changed[row["id"]] = row

    async def fetch(self, connection: Connection, begun: list[Row], wanted: Collection[str]) -> None:
        """Write the rows that begin, in their order, unless they are there, and know all that are wanted."""
        self._forget_oldest()
        if begun:
            self._rows |= {row["id"]: dict(row) for row in await self._insert(connection, begun)}
        if missing := {row["id"] for row in begun}.union(wanted) - self._rows.keys():
            rows = await connection.fetch(f"SELECT * FROM {self._shape.name} WHERE id = ANY ($1)", list(missing))
            self._rows |= {row["id"]: dict(row) for row in rows}

    async def write(self, connection: Connection) -> None:
        """Write what was changed since, and the versions before."""
        if self._versions:
            columns = (*self._versioned, "until_seq")
            await connection.copy_records_to_table(
                self._shape.name, schema_name="history", columns=columns, records=self._versions
            )
        if self._changed:
            columns = ("id", *self._shape.changing, "seq")
            assigned = ", ".join(f"{name} = v.{name}" for name in columns[1:])
            sql = (
                f"UPDATE {self._shape.name} t SET {assigned} FROM {self._unnested(columns)} v ({', '.join(columns)})"
                " WHERE t.id = v.id"
            )
            await connection.execute(sql, *_by_column(columns, self._changed.values()))
        self._changed, self._versions = {}, []

    async def _insert(self, connection: Connection, begun: list[Row]) -> list[asyncpg.Record]:
        columns = tuple(begun[0])
        names = ", ".join(columns)
        sql = (
            f"INSERT INTO {self._shape.name} ({names}) SELECT * FROM {self._unnested(columns)}"
            " ON CONFLICT (id) DO NOTHING RETURNING *"
        )
        return await connection.fetch(sql, *_by_column(columns, begun))

    def _unnested(self, columns: Iterable[str]) -> str:
        arrays = (f"${number}::{self._types[name]}[]" for number, name in enumerate(columns, start=1))
        return f"unnest({', '.join(arrays)})"

    def _forget_oldest(self) -> None:
        for key in list(self._rows)[: max(0, len(self._rows) - MAX_REMEMBERED)]:
            del self._rows[key]


def _by_column(columns: Iterable[str], rows: Collection[Mapping[str, Any]]) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in columns]
