"""Pages of a list in any order: the cursor says what the last row was, and the next page begins after it.

So a page costs what is on it, wherever it lies, and rows that come or go meanwhile move no other. Pure.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from services.gateway import cursor
from services.gateway.filters import (
    MAX_INT,
    MAX_KEYS,
    Column,
    Columns,
    Kind,
    Parameters,
    Value,
    column_of,
    known,
    postgres_type,
    refused,
    time_of,
)
from shared.errors import Problem, Rejected

T = TypeVar("T")
PartKey: TypeAlias = tuple[str, ...]


def part(
    items: Iterable[T], key: Callable[[T], PartKey], *, after: str | None, limit: int
) -> tuple[list[T], str | None]:
    """Return a page of what is at hand as a whole, in the order of keys that no two share, and where the next begins.

    Raises Rejected (400) for a cursor of another list.
    """
    place = cursor.read(after, PartKey, ())
    left = sorted((item for item in items if key(item) > place), key=key)
    found = left[:limit]
    return found, cursor.write(key(found[-1])) if len(left) > len(found) else None


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """The order of a list, and where in it a page ended."""

    order: str
    values: list[str | float | int | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One column of an order."""

    sql: str
    is_descending: bool
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The order of a list, its last key one that no two rows share."""

    text: str
    keys: tuple[Key, ...]

    @property
    def by(self) -> str:
        """Return what stands after ORDER BY; what is null comes last."""
        return ", ".join(f"{key.sql} {'DESC' if key.is_descending else 'ASC'} NULLS LAST" for key in self.keys)

    @property
    def columns(self) -> str:
        """Return the keys' values, to be selected as _key0, _key1 and so on: what `next_page` reads."""
        return ", ".join(f"{key.sql} AS _key{number}" for number, key in enumerate(self.keys))

    def after(self, place: str | None, parameters: Parameters) -> str:
        """Return the condition that rows after a cursor meet. Raises Rejected (400)."""
        if place is None:
            return "true"
        found = cursor.read(place, _Place, _Place(self.text, []))
        if found.order != self.text or len(found.values) != len(self.keys):
            raise refused("cursor", "is of a list in another order", "leave it out, or ask for the same sort again")
        values = [_value(key, value) for key, value in zip(self.keys, found.values, strict=True)]
        equal: list[str] = []
        ways: list[str] = []
        for key, value in zip(self.keys, values, strict=True):
            stands = None if value is None else parameters.add(value, postgres_type(value))
            if stands is not None:
                beyond = f"({key.sql} {'<' if key.is_descending else '>'} {stands} OR {key.sql} IS NULL)"
                ways.append("(" + " AND ".join([*equal, beyond]) + ")")
            equal.append(f"{key.sql} = {stands}" if stands is not None else f"{key.sql} IS NULL")
        return f"({' OR '.join(ways)})" if ways else "false"

    def next_page(self, values: Sequence[object]) -> str:
        """Return the cursor of the page after a row with these keys."""
        plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
        return cursor.write([self.text, plain])


def order(sort: str, columns: Columns, parameters: Parameters, *, unique: Column, descending: bool) -> Order:
    """Return the order that `sort` asks for; rows that are equal by it stand in the order of `unique`.

    Raises Rejected (400) with every field that there is none of.
    """
    names = [name.strip() for name in sort.split(",")] if sort.strip() else []
    if len(names) > MAX_KEYS:
        raise refused("sort", f"names {len(names)} fields", f"use at most {MAX_KEYS}")
    found = [(name, column_of(name.removeprefix("-"), columns, parameters)) for name in names]
    problems = [problem for name, column in found for problem in _problems(name, column, columns)]
    if problems:
        raise Rejected("the query has mistakes", tuple(problems), status=400)
    keys = [
        Key(sql=column.sql, is_descending=name.startswith("-"), kind=column.kind)
        for name, column in found
        if column is not None
    ]
    last = Key(sql=unique.sql, is_descending=descending, kind=unique.kind)
    return Order(text=",".join(names), keys=(*keys, last))


def _problems(name: str, column: Column | None, columns: Columns) -> Sequence[Problem]:
    if column is None:
        return [Problem("sort", f"there is no field {name[:100]!r}", f"known: {known(columns)}")]
    if column.kind in (Kind.LABELS, Kind.JSON) or column.is_long:
        return [Problem("sort", f"a list cannot be sorted by {name[:100]!r}")]
    return []


_FITS: dict[Kind, tuple[type, ...]] = {
    Kind.TEXT: (str,),
    Kind.NUMBER: (int, float),
    Kind.TRUTH: (bool,),
    Kind.TIME: (str,),
}


def _value(key: Key, value: Value) -> Value:
    """Return a value of a cursor as its key is compared. Raises Rejected for what no page ended with."""
    if value is None:
        return None
    is_truth = isinstance(value, bool)
    fits = isinstance(value, _FITS[key.kind]) and is_truth == (key.kind is Kind.TRUTH)
    if not fits or (isinstance(value, int) and abs(value) > MAX_INT) or (isinstance(value, str) and "\0" in value):
        raise refused("cursor", "is no cursor of this list")
    if key.kind is Kind.TIME and isinstance(value, str):
        try:
            return time_of(value)
        except ValueError as error:
            raise refused("cursor", "is no cursor of this list") from error
    return value
