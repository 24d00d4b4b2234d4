"""Training metrics of a trial as they come, straight from the METRICS stream."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from services.gateway import queries, sse, tap
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.routes.following import to_the_end
from services.gateway.views.metrics import MetricItem
from shared import positions, subjects, volume
from shared.log import Follower, Message


class StreamQuery(Query, frozen=True, kw_only=True):
    """Which metrics; without a group, all that are not validations."""

    group: Annotated[str, Meta(pattern="^[a-z0-9_-]{1,64}$")] | None = None
    fresh: Annotated[bool, Meta(description="only what comes from now on")] = False


async def follow(call: Call[StreamQuery]) -> web.StreamResponse:
    """What the stream still holds, or what came after Last-Event-ID, and all that comes until the trial is over."""
    trial_id = call.id("trial")
    await queries.trial_is_over(call.parts.database, trial_id)
    filters = [subjects.trial_metrics_filter(trial_id)]
    after = sse.begin_after(call.request)
    if after is None:
        after = await positions.head(call.parts.client, subjects.METRICS) if call.query.fresh else 0
    wanted = Follower(call.parts.client, subjects.METRICS, after=after, filters=filters)
    async with tap.reading(wanted) as following:
        return await to_the_end(call, trial_id, following, lambda message: list(_points(message, call.query.group)))


def _points(message: Message, group: str | None) -> Iterator[bytes]:
    try:
        batch = volume.decode_metrics(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # the tracker sets it aside
    if group in (None, batch.group):
        for point in batch.points:
            item = MetricItem(
                group=batch.group, epoch=batch.epoch, step=point.step, time=point.time, values=point.values
            )
            yield msgspec.json.encode(item)


ROUTES = (
    get(
        f"{PREFIX}/trials/{{id}}/metrics/stream",
        follow,
        StreamQuery,
        "text/event-stream",
        "Follow a trial's training metrics",
    ),
)
