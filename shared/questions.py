"""Asking a service a question over the broker and waiting for its answer: core NATS request and reply."""

from typing import TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from shared.errors import Unavailable

AnswerT = TypeVar("AnswerT")


async def ask(
    client: Client, subject: str, question: msgspec.Struct, answer: type[AnswerT], timeout_s: float
) -> AnswerT:
    """Return the first answer. Raises Unavailable when none comes in time, or one that is none."""
    try:
        reply = await client.request(subject, msgspec.msgpack.encode(question), timeout=timeout_s)
        return msgspec.msgpack.decode(reply.data, type=answer)
    except (nats.errors.Error, msgspec.MsgspecError) as error:
        raise Unavailable(f"no answer to {subject}: {error!r}") from error
