"""All trials of an experiment as columns: for tables and pictures of many."""

from typing import Annotated

from msgspec import Meta

from services.gateway import columns, cursor, queries
from services.gateway.api import PREFIX, Call, PastQuery, Seq, get
from services.gateway.cursor import Cursor
from services.gateway.views.trials import TrialColumns

Index = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class ColumnsQuery(PastQuery, frozen=True, kw_only=True):
    """Which trials."""

    since: Annotated[Seq, Meta(description="only those that are open or changed after this event")] = 0
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=columns.MAX_ROWS)] = columns.MAX_ROWS


async def list_columns(call: Call[ColumnsQuery]) -> TrialColumns:
    """The trials of an experiment, a list for each property."""
    experiment_id, query = call.id("experiment"), call.query
    async with call.reading() as database:
        await queries.check_experiment(database, experiment_id)
        return await columns.trials(
            database, experiment_id, since=query.since, after=cursor.read(query.cursor, Index, 0), limit=query.limit
        )


ROUTES = (
    get(
        f"{PREFIX}/experiments/{{id}}/trials/columns",
        list_columns,
        ColumnsQuery,
        TrialColumns,
        "An experiment's trials as columns, for tables and pictures of many",
    ),
)
