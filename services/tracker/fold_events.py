"""Writes a batch of EVENTS: rows of experiments, trials, allocations, agents and checkpoints."""

import logging

import asyncpg
import msgspec

from services.tracker import projection
from services.tracker.projection import At
from shared import log
from shared.codec import Undecodable
from shared.errors import Rejected
from shared.log import Message, Recorded

_TRIAL_EVENTS = """
INSERT INTO trial_events (trial_id, seq, name) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
ON CONFLICT DO NOTHING
"""

_log = logging.getLogger(__name__)


class EventFold:
    """Counts what it could not use; the operator sees it in the heartbeat."""

    def __init__(self) -> None:
        self.num_unknown = 0
        self.num_undecodable = 0

    async def prepare(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Nothing is needed on a new connection."""

    async def write(self, connection: "asyncpg.Connection[asyncpg.Record]", messages: list[Message]) -> None:
        """Write what the messages mean."""
        batch: list[projection.Statement] = []
        told: list[tuple[str, int, str]] = []
        for message in messages:
            try:
                recorded = log.decode_recorded(message)
                event, at = recorded.event, At(recorded.seq, recorded.envelope.time)
                batch += [] if event is None else projection.statements(event, at)
            except (Undecodable, Rejected, ValueError, msgspec.ValidationError) as error:
                self.set_aside(message, error)
            else:
                told += _of_trial(recorded)
                self.num_unknown += event is None
        for sql, rows in projection.in_waves(batch):
            if len(rows) == 1:
                await connection.execute(sql, *rows[0])
            else:
                await connection.executemany(sql, rows)
        if told:
            await connection.execute(_TRIAL_EVENTS, *map(list, zip(*told, strict=True)))

    def set_aside(self, message: Message, error: Exception) -> None:
        """Count a message that means nothing to us, and say why."""
        self.num_undecodable += 1
        _log.error("event set aside", extra={"seq": message.seq, "subject": message.subject, "error": str(error)})


def _of_trial(recorded: Recorded) -> list[tuple[str, int, str]]:
    trial_id = getattr(recorded.event, "trial_id", None)
    return [(trial_id, recorded.seq, recorded.envelope.name)] if isinstance(trial_id, str) else []
