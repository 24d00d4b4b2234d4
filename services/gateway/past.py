"""The read model as it was: which event a moment means, and a connection that sees nothing later.

The tracker keeps every version of its rows behind views of the tables' names (services/tracker/migrations, 0004). So a
question about the past is the question about the present, asked over a connection that finds those views.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from nats.aio.client import Client

from shared import positions
from shared.errors import Problem, Rejected, Unavailable

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MAX_SKEW = timedelta(minutes=1)  # a clock that is ahead of ours; what is later is the future

#: Sessions that see the past: nothing but the views, so that no question falls through to the present; and planning an
#: answer of a few milliseconds is worth no compiler.
SESSION = {"search_path": "as_of", "jit": "off"}

Database: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
ReadModel: TypeAlias = "Database | PoolConnectionProxy[asyncpg.Record]"  # as it is, or over a connection of `as_of`

_FORMS = "write a sequence, a time such as 2026-01-31T12:00:00Z, or how long ago, such as 10m"
_SEQ, _AGO = re.compile("[0-9]{1,15}"), re.compile("([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# A rebuild empties the tables with TRUNCATE, which older snapshots see too: it waits for those who read.
_HOLD = "LOCK TABLE public.projections IN ACCESS SHARE MODE"
_ENTER = "SELECT position FROM public.projections, set_config('tm.as_of', $1, true) WHERE name = 'events'"


class Behind(Unavailable):
    """The read model has not come to that event yet."""


async def seq_of(client: Client, name: str, moment: str, now: datetime) -> int:
    """Return the sequence of the last event up to a moment: 0 before the first one.

    `name` is the parameter's. Raises Rejected (400) for what is no moment, or not yet on the log.
    """
    if _SEQ.fullmatch(moment):
        if int(moment) > (head := await positions.head(client)):
            raise _refused(name, f"the log ends with event {head}", "choose an earlier one")
        return int(moment)
    instant = instant_of(name, moment, now)
    if instant > now + MAX_SKEW:
        raise _refused(name, f"{moment} is in the future", "the past is what can be asked about")
    return await positions.seq_at(client, in_range(instant, instant))


def instant_of(name: str, moment: str, now: datetime) -> datetime:
    """Return the instant that a time or a duration means. Raises Rejected (400)."""
    try:
        if ago := _AGO.fullmatch(moment):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        instant = datetime.fromisoformat(moment)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _refused(name, f"{moment[:100]!r} is no moment", _FORMS) from error
    raise _refused(name, f"{moment} has no offset", "end it with Z or an offset such as +02:00 (%2B02:00 in a URL)")


def in_range(instant: datetime, now: datetime) -> datetime:
    """Return an instant (UTC) that means the same to a log: nothing is older than LONG_AGO, or newer than `now`.

    A request may name the years 1 and 9999, which neither the broker nor every offset can have.
    """
    return max(LONG_AGO, min(instant, now)).astimezone(UTC)


@asynccontextmanager
async def as_of(pool: Database, seq: int) -> AsyncIterator[ReadModel]:
    """Yield a connection that sees the read model as it was after the event `seq`, for several questions.

    `pool` has sessions of SESSION. Raises Behind.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(_HOLD)
        position = await connection.fetchval(_ENTER, str(seq))
        if position < seq:
            raise Behind(f"the read model has come to event {position} and does not know {seq} yet; ask again")
        yield connection


@asynccontextmanager
async def consistent(database: ReadModel) -> AsyncIterator[ReadModel]:
    """Yield a connection for several questions about one moment."""
    if isinstance(database, PoolConnectionProxy):  # from `as_of`: nothing else hands out connections
        yield database
        return
    async with database.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(_HOLD)
        yield connection


def _refused(name: str, message: str, suggestion: str) -> Rejected:
    return Rejected("the query has mistakes", (Problem(name, message, suggestion),), status=HTTPStatus.BAD_REQUEST)
