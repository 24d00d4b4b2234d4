"""Where in a stream something is, as the broker knows: a consumer tells what it would deliver, and nobody reads it."""

from datetime import datetime, timedelta

import nats.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy

from shared import subjects
from shared.errors import Unavailable


async def seq_at(client: Client, instant: datetime, stream: str = subjects.EVENTS) -> int:
    """Return the sequence of the last message stored at or before an instant, to the microsecond; 0 if there is none.

    A consumer that would begin after the instant tells what it would leave out. Raises Unavailable.
    """
    after = instant + timedelta(microseconds=1)
    begun = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=after)
    info = await _described(client, stream, begun)
    assert info.delivered is not None
    return info.delivered.stream_seq


async def bounds(client: Client, stream: str) -> tuple[int, int]:
    """Return the first and the last sequence that a stream holds; of an empty one, last < first. Raises Unavailable."""
    try:
        state = (await client.jetstream().stream_info(stream)).state
    except (nats.errors.Error, OSError) as error:
        raise Unavailable(f"the broker does not answer: {error!r}") from error
    return max(1, state.first_seq), state.last_seq


async def head(client: Client, stream: str = subjects.EVENTS) -> int:
    """Return the last sequence of a stream, 0 of one that never held anything. Raises Unavailable."""
    _, last = await bounds(client, stream)
    return last


async def num_after(client: Client, stream: str, subject: str, seq: int) -> int:
    """Return how many messages of a subject a stream holds after a sequence. Raises Unavailable."""
    begun = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=seq + 1, filter_subject=subject
    )
    return (await _described(client, stream, begun)).num_pending or 0


async def _described(client: Client, stream: str, begun: ConsumerConfig) -> ConsumerInfo:
    config = begun.evolve(ack_policy=AckPolicy.EXPLICIT, mem_storage=True, num_replicas=1, inactive_threshold=1.0)
    try:
        return await client.jetstream().add_consumer(stream, config)
    except (nats.errors.Error, OSError) as error:
        raise Unavailable(f"the broker did not say where in {stream} that is: {error!r}") from error
