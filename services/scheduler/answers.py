"""Answers questions about the queue, from what this instance has folded, beside the decisions.

The order of a whole queue and its future take long where it is long, so they are kept, and made anew only when the log
has gone on since and ten times as long has gone by as it took: that never takes more than a tenth of the time. The
reasons are always those of now; an answer says of which position its order is. Every instance that has folded as far as
the asker knows answers, leader or standby; the first one counts, and one that is behind is silent.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.scheduler.engine import Engine
from services.scheduler.explain import Line, line_up, matching, page, place_after, pool_queue, tell
from services.scheduler.memory import State
from shared import subjects
from shared.queue import MAX_LIMIT, QueueAnswer, QueueQuestion, WaitingTrial

MAX_ANSWER_BYTES = 512 * 1024  # the broker carries 1 MB
PATIENCE_S = 1.0  # for the fold to come as far as the asker knows, and for an explanation that is fresh enough
MAX_PENDING = 200  # questions that wait; more are dropped, and their askers find that nobody answers
LOOK_S = 0.01
KEPT_S = 1.0  # while nothing happens; but who waits too long, and what is expected, depends on the time
REST = 10  # an explanation is not made again before as many times as long as it took

_log = logging.getLogger(__name__)
_decoder = msgspec.msgpack.Decoder(QueueQuestion)
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An explanation, of which position it is, when it was made and from when on it may be made again (monotonic)."""

    position: int
    now: datetime
    lines: list[Line]
    made_at_s: float
    stale_from_s: float


class Answers:
    """Explains the queue of one scheduler instance."""

    def __init__(
        self, client: Client, *, instance: str, engine: Engine, look: Callable[[], tuple[State, int, bool]]
    ) -> None:
        """`look` returns the state, the position up to which it is folded, and whether that is the head."""
        self._client = client
        self._instance = instance
        self._engine = engine
        self._look = look
        self._kept: _Kept | None = None

    async def listen(self) -> None:
        """Answer from now on, one question after the other."""
        subject = subjects.QUEUE_QUESTION
        await self._client.subscribe(subject, cb=self._answer, pending_msgs_limit=MAX_PENDING)

    async def _answer(self, message: Msg) -> None:
        try:
            question = _decoder.decode(message.data)
        except msgspec.MsgspecError as error:
            _log.warning("question not understood", extra={"error": str(error)})
            return
        if message.reply and await self._has_folded(question.min_position):
            await message.respond(_encoder.encode(await self._answer_to(question)))

    async def _has_folded(self, position: int) -> bool:
        """Wait until this instance is at the head and knows of a position; say whether it does."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            _, folded, is_at_head = self._look()
            if is_at_head and folded >= position:
                return True
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(LOOK_S)

    async def _answer_to(self, question: QueueQuestion) -> QueueAnswer:
        kept = await self._explanation(question.min_position)
        state, _, _ = self._look()
        books = self._engine.inspect(state, datetime.now(UTC))
        found = matching(kept.lines, question)
        num_found = sum(len(places) for _, places in found)
        limit, after = max(1, min(question.limit, MAX_LIMIT)), max(0, question.after)
        if question.after_trial is not None:
            after = place_after(found, question.after_trial, after)
        items: list[WaitingTrial] = []
        num_bytes, told = 0, after
        for item in tell(state, books, page(found, after, limit)):
            num_bytes += len(_encoder.encode(item))
            if items and num_bytes > MAX_ANSWER_BYTES:
                break
            items += [] if item is None else [item]
            told += 1
        return QueueAnswer(
            position=kept.position,
            time=kept.now,
            instance=self._instance,
            num_waiting=num_found,
            items=tuple(items),
            pools=tuple(
                pool_queue(state, books, line) for line in kept.lines if question.pool_id in (None, line.pool_id)
            ),
            next_after=told if told < num_found else None,
        )

    async def _explanation(self, min_position: int) -> _Kept:
        """Return an explanation; if it is of before `min_position`, then because it would be made too often."""
        deadline_s = time.monotonic() + PATIENCE_S
        while (kept := self._kept) is not None:
            now_s, (_, position, _) = time.monotonic(), self._look()
            if now_s > kept.stale_from_s and not (position == kept.position and now_s < kept.made_at_s + KEPT_S):
                break
            if kept.position >= min_position or now_s > deadline_s:
                return kept
            await asyncio.sleep(LOOK_S)
        return self._explain()

    def _explain(self) -> _Kept:
        state, position, _ = self._look()
        now, began_s = datetime.now(UTC), time.monotonic()
        lines = line_up(state, self._engine.inspect(state, now), now)
        took_s = time.monotonic() - began_s
        self._kept = _Kept(
            position=position, now=now, lines=lines, made_at_s=began_s, stale_from_s=began_s + REST * took_s
        )
        return self._kept
