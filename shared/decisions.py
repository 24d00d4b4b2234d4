"""The shell around every decider: fold to the head, decide what is missing, append, fold what came of it.

Level-triggered: a decision is taken from state, never from one message, so restarts, redeliveries and second
instances cannot double an effect. After an append the loop folds past its own events before it decides again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from nats.aio.client import Client

from shared import log, subjects
from shared.codec import Undecodable
from shared.errors import Conflict, Unavailable
from shared.events import Event
from shared.log import Follower, Message, Recorded

RETRY_S = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An event that is needed now, with the sequences of the events that made it needed."""

    event: Event
    causes: tuple[int, ...]
    correlation: str


class Fold:
    """Folds messages of EVENTS into a state, setting aside what cannot be decoded."""

    def __init__(self, evolve: Callable[[Recorded], None]) -> None:
        self._evolve = evolve
        self.position = 0
        self.num_unknown = 0
        self.num_undecodable = 0

    def __call__(self, messages: list[Message]) -> None:
        """Fold the messages in order."""
        for message in messages:
            try:
                recorded = log.decode_recorded(message)
            except (Undecodable, ValueError) as error:
                self.num_undecodable += 1
                _log.error(
                    "event set aside", extra={"seq": message.seq, "subject": message.subject, "error": str(error)}
                )
            else:
                if recorded.event is None:
                    self.num_unknown += 1
                else:
                    self._evolve(recorded)
            self.position = message.seq


class DecisionLoop:
    """Runs one decider as `writer`. `decide` is called only with everything folded."""

    def __init__(
        self, client: Client, writer: str, evolve: Callable[[Recorded], None], decide: Callable[[], list[Decision]]
    ) -> None:
        self._client = client
        self._writer = writer
        self._evolve = evolve
        self._decide = decide
        self._last_of: dict[tuple[str, str], int] = {}  # aggregate -> our last event's sequence
        self._settled = 0  # our newest append: no decision before it is folded
        self.fold = Fold(self._fold_one)
        self.follower = Follower(client, subjects.EVENTS)

    def facts(self) -> dict[str, int]:
        """Return what a heartbeat tells about this loop."""
        return {
            "position": self.fold.position,
            "num_undecodable": self.fold.num_undecodable,
            "num_unknown": self.fold.num_unknown,
        }

    async def run(self) -> None:
        """Follow and decide for ever."""
        while True:
            self.fold(await self.follower.next())
            if self.follower.at_head and self.fold.position >= self._settled:
                await self._append_all(self._decide())

    def _fold_one(self, recorded: Recorded) -> None:
        event = recorded.event
        assert event is not None
        if recorded.envelope.writer == self._writer:
            self._last_of[event.aggregate, event.aggregate_id] = recorded.seq
        self._evolve(recorded)

    async def _append_all(self, decisions: list[Decision]) -> None:
        for aggregate, batch in _batches(decisions):
            envelopes = [
                log.envelope_of(
                    decision.event,
                    writer=self._writer,
                    actor=self._writer,
                    correlation=decision.correlation,
                    causes=decision.causes,
                )
                for decision in batch
            ]
            try:
                seq = await log.append(self._client, envelopes, expected=self._last_of.get(aggregate, 0))
            except Conflict:
                _log.info("append refused, deciding again", extra={"aggregate": "/".join(aggregate)})
                return  # what we have not seen yet is on its way
            except Unavailable as error:
                _log.warning("append failed, trying again", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)
                self.follower.poke()
                return
            self._last_of[aggregate] = self._settled = seq


def _batches(decisions: list[Decision]) -> Iterator[tuple[tuple[str, str], list[Decision]]]:
    """Group neighbouring decisions about one aggregate, in appends of at most MAX_BATCH."""
    for aggregate, group in groupby(decisions, key=lambda d: (d.event.aggregate, d.event.aggregate_id)):
        members = list(group)
        for start in range(0, len(members), log.MAX_BATCH):
            yield aggregate, members[start : start + log.MAX_BATCH]
