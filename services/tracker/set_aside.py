"""Messages that the projection cannot use: kept in a table with the reason, so that nothing behind them waits."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
import msgspec

from services.tracker.rows import text
from shared.codec import Undecodable
from shared.errors import Rejected
from shared.log import Message

MAX_SUBJECT, MAX_REASON = 512, 2_000  # characters that are kept

_KEEP = """
INSERT INTO set_aside (stream, seq, subject, stored_at, size_bytes, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (stream, seq) DO UPDATE SET reason = EXCLUDED.reason
"""

#: What hostile bytes raise; anything else may be our mistake.
_EXPECTED = (Undecodable, Rejected, msgspec.MsgspecError, UnicodeError)

_log = logging.getLogger(__name__)


class Unknown(Exception):
    """An event of a type that this program does not know: a newer one wrote it."""


class Aside(NamedTuple):
    """A message that was not used, and what was raised about it."""

    message: Message
    error: Exception

    @property
    def reason(self) -> str:
        """Why, in a sentence for the operator."""
        said = str(self.error).partition("\n")[0]
        return said if isinstance(self.error, Undecodable | Unknown) else f"{type(self.error).__name__}: {said}"


async def keep(connection: "asyncpg.Connection[asyncpg.Record]", stream: str, asides: Sequence[Aside]) -> None:
    """Write the messages down, in the caller's transaction."""
    rows = [
        (
            stream,
            message.seq,
            text(message.subject)[:MAX_SUBJECT],
            message.stored_at,
            len(message.body),
            text(aside.reason)[:MAX_REASON],
        )
        for aside in asides
        for message in (aside.message,)
    ]
    await connection.executemany(_KEEP, rows)


def tell(stream: str, asides: Sequence[Aside]) -> None:
    """Log the messages; with a traceback where the mistake may be ours."""
    for message, error in asides:
        facts = {"stream": stream, "seq": message.seq, "subject": message.subject, "error": str(error)}
        if isinstance(error, Unknown):
            _log.warning("event of an unknown type set aside", extra=facts)
        else:
            _log.error("message set aside", extra=facts, exc_info=None if isinstance(error, _EXPECTED) else error)
