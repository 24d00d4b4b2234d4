"""The shell around sealing: follows EVENTS from the newest seal, and appends the next one when it is due.

An append expects the seal before to be the newest one: of two trackers one seals, the other reads it.
"""

import asyncio
import contextlib
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from nats.aio.client import Client

from services.tracker.seals import Rhythm, Sealing
from shared import log, subjects
from shared.audit.seal import Malformed, SigningKey, decode_seal, draw_signing_key, seal
from shared.audit.verify import SEAL_SUBJECT
from shared.codec import encode
from shared.errors import Conflict, Unavailable
from shared.log import Follower

RETRY_S = 0.5

_log = logging.getLogger(__name__)


class Auditor:
    """Seals the log, for ever."""

    def __init__(self, client: Client, key: SigningKey, rhythm: Rhythm) -> None:
        self._client = client
        self._key = key
        self._rhythm = rhythm
        self._sealing = Sealing()

    @property
    def sealed(self) -> int:
        """The log is sealed up to this event."""
        return self._sealing.sealed

    async def run(self) -> None:
        """Follow the log and seal it."""
        self._sealing = await self._resume()
        follower = Follower(self._client, subjects.EVENTS, after=self._sealing.position)
        try:
            while True:
                for message in await follower.next():
                    self._sealing.evolve(message)
                while await self._seal():
                    pass
        finally:
            await follower.close()

    async def _resume(self) -> Sealing:
        while True:
            try:
                newest = await log.last_of(self._client, SEAL_SUBJECT)
                return Sealing() if newest is None else Sealing.after(newest.seq, decode_seal(newest.body))
            except Malformed as error:
                _log.error("the newest seal cannot be read; folding from the beginning", extra={"error": str(error)})
                return Sealing()
            except Unavailable as error:
                _log.warning("waiting for the log", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)

    async def _seal(self) -> bool:
        """Append the next seal if one is due, and say whether another may be."""
        sealing = self._sealing
        leaves = sealing.due(datetime.now(UTC), self._rhythm)
        if not leaves:
            return False
        envelope = log.envelope_of(
            seal(self._key, sealing.before, sealing.chain, leaves),
            writer=subjects.TRACKER,
            actor=subjects.TRACKER,
            correlation="audit",
            causes=(sealing.before.size + len(leaves),),
        )
        try:
            seq = await log.append(self._client, [envelope], expected=sealing.last_seal)
        except Conflict:
            return False  # another instance was faster; its seal is on its way
        except Unavailable as error:
            _log.warning("sealing failed, trying again", extra={"error": str(error)})
            return False
        sealing.cover(seq, encode(envelope))
        return True


def ensure_key(path: Path) -> SigningKey:
    """Return the key in a file that only its owner can read, drawing it once; its public half lies beside it."""
    if not path.exists():
        scratch = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(draw_signing_key().secret.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another instance drew one at the same time
            path.hardlink_to(scratch)
        scratch.unlink()
    key = SigningKey(bytes.fromhex(path.read_text()))
    path.with_suffix(".pub").write_text(key.public.hex() + "\n")
    return key
