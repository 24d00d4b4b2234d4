"""What differs in the read model between two events of the log.

A row differs if it is there at only one of the two, or one of its fields has another value. What an event in between
changed and a later one changed back, does not differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from services.gateway.past import ReadModel
from services.gateway.views.diff import Difference, DiffPart, FieldChange

MAX_TEXT = 200  # characters of a value
FEW = 8  # what changed within an eighth of the log is looked up row by row; beyond, comparing all of it is faster


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of thing: its table, and what in a row names it."""

    table: str
    key: tuple[str, ...] = ("id",)
    label: str | None = None
    born: str | None = None  # the column that says by which event a row began, where rows never go
    may_go: bool = False


KINDS = (
    Kind(table="experiments", label="name", born="submitted_seq"),
    Kind(table="trials", born="requested_seq"),
    Kind(table="allocations", label="trial_id", born="allocated_seq"),
    Kind(table="agents", may_go=True),
    Kind(table="slots", key=("agent_id", "number"), label="name", may_go=True),
    Kind(table="checkpoints", label="trial_id", may_go=True),
    Kind(table="closures", key=("agent_id", "slot"), label="state"),
    Kind(table="slot_faults", key=("agent_id", "slot"), label="fault"),
    Kind(table="pool_policies", key=("pool_id",)),
    Kind(table="limits", label="workspace"),
)

# Those that came or changed have a version at $2 that is younger than $1; those that went, one that ended in between.
_COMPARED = "history.{table}_at($2) b LEFT JOIN history.{table}_at($1) a ON {same}"

# Where rows never go, those that came began in between, and of those that changed a version ended in between.
_LOOKED_UP = """(
    SELECT id FROM history.{table} WHERE until_seq > $1 AND until_seq <= $2
    UNION SELECT id FROM public.{table} WHERE {born} > $1 AND {born} <= $2
) c CROSS JOIN LATERAL history.{table}_of(c.id, $2) b LEFT JOIN LATERAL history.{table}_of(c.id, $1) a ON true"""

_DIFFERENT = """
WITH different AS (
    SELECT {id} AS id, {label} AS label, b.seq AS seq, CASE WHEN a.seq IS NULL THEN 'came' ELSE 'changed' END AS how,
           a AS a, b AS b
    FROM {found}
    WHERE b.seq > $1 AND (a.seq IS NULL OR ({before}) IS DISTINCT FROM ({after}))
    {gone}
), numbered AS (
    SELECT *, count(*) OVER (PARTITION BY how) AS total, row_number() OVER (PARTITION BY how ORDER BY seq, id) AS number
    FROM different
)
SELECT id, label, seq, how, total, to_jsonb(a) AS before, to_jsonb(b) AS after FROM numbered
WHERE number <= $3 ORDER BY number
"""

_GONE = """
    UNION ALL
    SELECT {id}, {label}, e.until_seq, 'went', b, NULL
    FROM history.{table} e JOIN history.{table}_at($1) b ON {ended} AND e.seq = b.seq
    WHERE e.until_seq > $1 AND e.until_seq <= $2 AND NOT EXISTS (SELECT FROM history.{table}_at($2) a WHERE {same})
"""

# What a row's versions differ in: all columns but those that never change, and the event's number.
_FIELDS = """
SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) AS names FROM information_schema.columns
WHERE table_schema = 'history' AND table_name = ANY ($1) AND column_name NOT IN ('seq', 'until_seq')
GROUP BY table_name
"""


async def between(database: ReadModel, first: int, last: int, limit: int, *, head: int) -> list[DiffPart]:
    """Return what differs, at most `limit` rows of each kind and way, on a log of `head` events.

    `database` is a connection of `past.as_of`.
    """
    are_few = (last - first) * FEW < head
    found = await database.fetch(_FIELDS, [kind.table for kind in KINDS])
    fields: dict[str, list[str]] = {row["table_name"]: row["names"] for row in found}
    return [
        _part(kind, names, await database.fetch(_sql(kind, names, are_few=are_few), first, last, limit))
        for kind in KINDS
        for names in (fields[kind.table],)
    ]


def _sql(kind: Kind, fields: Iterable[str], *, are_few: bool) -> str:
    names = {
        "table": kind.table,
        "id": "concat_ws(' slot ', " + ", ".join(f"b.{name}" for name in kind.key) + ")",
        "label": f"b.{kind.label}" if kind.label else "NULL",
        "same": " AND ".join(f"a.{name} = b.{name}" for name in kind.key),
    }
    ended = " AND ".join(f"e.{name} = b.{name}" for name in kind.key)
    before, after = (", ".join(f'{side}."{name}"' for name in fields) for side in "ab")
    gone = _GONE.format(**names, ended=ended) if kind.may_go else ""
    found = (_LOOKED_UP if kind.born and are_few else _COMPARED).format(**names, born=kind.born)
    return _DIFFERENT.format(**names, found=found, before=before, after=after, gone=gone)


def _part(kind: Kind, fields: list[str], rows: list[asyncpg.Record]) -> DiffPart:
    totals = {row["how"]: row["total"] for row in rows}
    names = [name for name in fields if name not in kind.key]
    listed: dict[str, list[Difference]] = {"came": [], "changed": [], "went": []}
    for row in rows:
        before, after = (None if row[side] is None else msgspec.json.decode(row[side]) for side in ("before", "after"))
        shown = Difference(id=row["id"], label=row["label"], seq=row["seq"], fields=changes(before, after, names))
        listed[row["how"]].append(shown)
    return DiffPart(
        kind=kind.table,
        num_came=totals.get("came", 0),
        num_changed=totals.get("changed", 0),
        num_went=totals.get("went", 0),
        **listed,
    )


def changes(before: dict[str, Any] | None, after: dict[str, Any] | None, names: Iterable[str]) -> list[FieldChange]:
    """Return the fields that differ between two versions of a row; of a row that is not there, all are null."""
    pairs = ((name, (before or {}).get(name), (after or {}).get(name)) for name in names)
    return [FieldChange(name=name, before=_raw(was), after=_raw(is_)) for name, was, is_ in pairs if was != is_]


def _raw(value: Any) -> msgspec.Raw:
    is_long = isinstance(value, str) and len(value) > MAX_TEXT
    return msgspec.Raw(msgspec.json.encode(f"{value[:MAX_TEXT]}…" if is_long else value))
