"""Lists of experiments, trials and checkpoints: filtered, sorted, in pages. What may be asked for, and the SQL."""

from dataclasses import dataclass
from typing import Annotated, Literal

import asyncpg
from msgspec import Meta

from services.gateway import filters, paging
from services.gateway.api import PastQuery, Query
from services.gateway.cursor import Cursor
from services.gateway.filters import Column, Columns, Kind, Parameters
from services.gateway.past import ReadModel

Filter = Annotated[str, Meta(max_length=2000, description="which of them: docs/api.md has the grammar")]
Sort = Annotated[str, Meta(max_length=500, description="fields, highest first with a minus before: -metric,name")]

MAX_PART = 1000  # of a list that is at hand as a whole
PartLimit = Annotated[int, Meta(ge=1, le=MAX_PART)]


class ListQuery(PastQuery, frozen=True, kw_only=True):
    """Which part of a list, of which things, in which order."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: Cursor | None = None
    filter: Filter = ""
    sort: Sort = ""


class PartQuery(Query, frozen=True, kw_only=True):
    """Which part of a short list."""

    limit: PartLimit = MAX_PART
    cursor: Cursor | None = None


class PastPartQuery(PastQuery, frozen=True, kw_only=True):
    """Which part of a short list, and as of when."""

    limit: PartLimit = MAX_PART
    cursor: Cursor | None = None


Show = Literal["live", "archived", "all"]
SHOWN: dict[Show, str] = {
    "live": "e.deletion IS NULL AND NOT e.archived",
    "archived": "e.deletion IS NULL AND e.archived",
    "all": "true",
}

#: Which experiments `e` are in some workspaces: now, also in a question about the past. What has moved out of them is
#: not theirs to see any more: services.gateway.access.permit goes by the same.
IN_WORKSPACES = "EXISTS (SELECT FROM public.experiments p WHERE p.id = e.id AND p.workspace = ANY({0}))"

#: A condition with {0} for its value, the value, and the value's type.
Condition = tuple[str, object, str]


class ExperimentsQuery(ListQuery, frozen=True, kw_only=True):
    """Which experiments: those that are neither archived nor deleted, unless `show` says otherwise."""

    show: Show = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list: its tables with the conditions that always hold, its fields, and the order without a sort."""

    tables: str
    columns: Columns
    unique: Column
    descending: bool = False


def _text(sql: str) -> Column:
    return Column(sql=sql, kind=Kind.TEXT)


def _number(sql: str) -> Column:
    return Column(sql=sql, kind=Kind.NUMBER)


def _time(sql: str) -> Column:
    return Column(sql=sql, kind=Kind.TIME)


EXPERIMENTS: Columns = {
    "id": _text("e.id"),
    "name": _text("e.name"),
    "description": Column(sql="e.description", kind=Kind.TEXT, is_long=True),
    "notes": Column(sql="e.notes", kind=Kind.TEXT, is_long=True),
    "label": Column(sql="e.labels", kind=Kind.LABELS),
    "state": _text("e.state"),
    "workspace": _text("e.workspace"),
    "project": _text("e.project"),
    "owner": _text("e.owner"),
    "pool": _text("e.pool_id"),
    "searcher": _text("e.searcher"),
    "forked_from": _text("e.forked_from"),
    "priority": _number("e.priority"),
    "slots_per_trial": _number("e.slots_per_trial"),
    "submitted_at": _time("e.submitted_at"),
    "ended_at": _time("e.ended_at"),
    "archived": Column(sql="e.archived", kind=Kind.TRUTH),
    "metric": _number("b.metric"),  # of its best trial, as are the hyperparameters
    "hyperparameters.": Column(sql="b.hyperparameters", kind=Kind.JSON),
}
#: An index by experiment and metric finds the best trial of each.
BEST = """
LEFT JOIN LATERAL (
    SELECT t.metric, t.hyperparameters FROM trials t
    WHERE t.experiment_id = e.id AND t.metric IS NOT NULL AND t.state <> 'FAILED'
    ORDER BY t.id = e.best_trial_id DESC NULLS LAST,
             CASE WHEN e.smaller_is_better THEN t.metric ELSE -t.metric END, t.index LIMIT 1
) b ON true
"""
TRIALS: Columns = {
    "id": _text("t.id"),
    "index": _number("t.index"),
    "state": _text("t.state"),
    "metric": _number("t.metric"),
    "step": _number("t.step"),
    "best_step": _number("t.best_step"),
    "restarts": _number("t.restarts"),
    "slots": _number("t.slots"),
    "origin": _text("t.origin"),
    "requested_at": _time("t.requested_at"),
    "started_at": _time("t.started_at"),
    "ended_at": _time("t.ended_at"),
    "hyperparameters.": Column(sql="t.hyperparameters", kind=Kind.JSON),
}
CHECKPOINTS: Columns = {
    "id": _text("k.id"),
    "trial_id": _text("k.trial_id"),
    "state": _text("k.state"),
    "step": _number("k.step"),
    "size_bytes": _number("k.size_bytes::float8"),
    "world_size": _number("k.world_size"),
    "zero_stage": _number("k.zero_stage"),
    "saved_at": _time("k.saved_at"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The ids of a page's rows in their order, and where the next page begins."""

    ids: list[str]
    next_cursor: str | None


async def page(database: ReadModel, listing: Listing, table: str, fixed: list[Condition], query: ListQuery) -> Page:
    """Return a page of a list.

    `fixed` are conditions that always hold.
    Raises Rejected (400) with the mistakes in filter, sort or cursor.
    """
    parameters = Parameters()
    conditions = [sql.format(parameters.add(value, type_)) for sql, value, type_ in fixed]
    if query.filter.strip():
        conditions.append(filters.where(query.filter, listing.columns, parameters))
    order = paging.order(query.sort, listing.columns, parameters, unique=listing.unique, descending=listing.descending)
    conditions.append(order.after(query.cursor, parameters))
    limit = parameters.add(query.limit + 1, "bigint")
    which = f"{listing.tables} WHERE {' AND '.join(conditions)} ORDER BY {order.by} LIMIT {limit}"
    rows = await database.fetch(f"SELECT {table}.id, {order.columns} FROM {which}", *parameters.values)
    return Page(ids=[row["id"] for row in rows[: query.limit]], next_cursor=_next(order, rows, query.limit))


def _next(order: paging.Order, rows: "list[asyncpg.Record]", limit: int) -> str | None:
    return order.next_page(rows[limit - 1][1:]) if len(rows) > limit else None


def experiments(query: ListQuery) -> Listing:
    """Return the list of experiments, newest first; the best trials are looked up when the query names them."""
    needs_best = any(name in f"{query.filter} {query.sort}" for name in ("metric", "hyperparameters"))
    return Listing(
        tables="experiments e" + (BEST if needs_best else ""),
        columns=EXPERIMENTS,
        unique=_number("e.submitted_seq"),
        descending=True,
    )


OF_TRIALS = Listing(tables="trials t", columns=TRIALS, unique=_number("t.index"))
OF_CHECKPOINTS = Listing(tables="checkpoints k", columns=CHECKPOINTS, unique=_number("k.saved_seq"))
