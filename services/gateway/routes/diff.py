"""What changed between two moments."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from msgspec import Meta
from nats.aio.client import Client

from services.gateway import diff, past
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.views.diff import Diff, Moment
from shared import log
from shared.errors import Problem, Rejected

_FORMS = "a sequence, a time (RFC 3339) or how long ago (10m)"


class DiffQuery(Query, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Between which moments, and how much."""

    from_: Annotated[str, Meta(max_length=64, description=_FORMS)]
    to: Annotated[str, Meta(max_length=64, description=f"{_FORMS}; now if left out")] = "0s"
    limit: Annotated[int, Meta(ge=1, le=1000, description="of each kind of thing, and of each way to differ")] = 100


async def show_diff(call: Call[DiffQuery]) -> Diff:
    """What came, went and changed."""
    client, query, now = call.parts.client, call.query, datetime.now(UTC)
    first = await past.seq_of(client, "from", query.from_, now)
    last = await past.seq_of(client, "to", query.to, now)
    if first > last:
        problem = Problem("from", f"event {first} comes after event {last}", "turn the two round")
        raise Rejected("the query has mistakes", (problem,), status=HTTPStatus.BAD_REQUEST)
    await call.parts.position.wait(last)
    async with past.as_of(call.parts.past, last) as database:
        parts = await diff.between(database, first, last, query.limit, head=call.parts.position.value)
    return Diff(from_=await _moment(client, first), to=await _moment(client, last), parts=parts)


async def _moment(client: Client, seq: int) -> Moment:
    event = await log.read_one(client, seq) if seq else None
    return Moment(seq=seq, time=event.stored_at if event else None)


ROUTES = (get(f"{PREFIX}/diff", show_diff, DiffQuery, Diff, "What changed between two moments"),)
