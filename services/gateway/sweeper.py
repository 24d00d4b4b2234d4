"""The sweeper: deletes what is left of checkpoints that were never completed.

An upload that was cut off (a gang whose agent was lost, an agent that never came back, a checkpoint that was refused)
leaves objects that no CheckpointSaved speaks of, and the read model knows nothing of them. So the object store is
listed, now and then and a page at a time, and held against the read model:

    objects of an allocation that is over, of a trial that is over, both for GRACE_S, and no CheckpointSaved
        ──► CheckpointDeletionRequested ──► its objects deleted ──► CheckpointDeleted
    parts of uploads that were begun by such an allocation ──► aborted

Nothing goes that could still be completed: an agent that comes back later reads the request before it goes on with an
upload. Nothing goes that only the read model does not know of: it must have folded all that was on the log after the
listing, and no CheckpointSaved of the trial may have been set aside. Objects of unknown trials are not ours.
"""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
from nats.aio.client import Client

from services.gateway.collector import append
from services.gateway.past import Database
from services.gateway.position import Position
from shared import log, postgres, subjects
from shared.errors import NotFound, Refused, Unavailable
from shared.events import CheckpointDeleted, CheckpointDeletionRequested
from shared.ids import CheckpointId, ExperimentId, TrialId
from shared.objectstore import CHECKPOINTS, ObjectStore, checkpoint_key
from shared.uploads import Upload

GRACE_S = 24 * 3600.0
SWEEP_S = 3600.0  # from the end of one sweep to the next
RETRY_S = 60.0
NEVER_COMPLETED = "it was never completed, and its trial has ended"

_OVER = """
SELECT n.id, t.id AS trial_id, t.experiment_id, t.seq AS cause, k.id IS NOT NULL AS is_saved
FROM unnest($1::text[]) AS n (id)
JOIN allocations a ON a.id = substring(n.id FROM '^(.+)-s[0-9]+$') AND a.released_at < $2
JOIN trials t ON t.id = a.trial_id AND t.ended_at < $2
LEFT JOIN checkpoints k ON k.id = n.id
WHERE NOT EXISTS (SELECT 1 FROM set_aside s WHERE s.subject LIKE '%.trial.' || t.id || '.CheckpointSaved')
"""

_ID = re.compile(r"[a-z0-9-]{1,200}-a[0-9]{1,18}-s[0-9]{1,18}")  # whatever else lies there is not ours

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """Something in the store of an allocation and a trial that have ended; `is_saved`: it is a checkpoint."""

    checkpoint_id: CheckpointId
    trial_id: TrialId
    experiment_id: ExperimentId
    cause: int  # the trial's newest event
    is_saved: bool


class Sweeper:
    """Sweeps for ever."""

    def __init__(
        self, client: Client, database: Database, store: ObjectStore, position: Position, *, grace_s: float = GRACE_S
    ) -> None:
        self._client = client
        self._database = database
        self._store = store
        self._position = position
        self._grace_s = grace_s

    async def run(self) -> None:
        """Sweep at the start, and then every SWEEP_S."""
        while True:
            pause_s = SWEEP_S
            try:
                await self.sweep()
            except (NotFound, Refused, Unavailable, asyncpg.SyntaxOrAccessError, *postgres.UNREACHABLE) as error:
                _log.warning("sweeping failed, trying again later", extra={"error": repr(error)})
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def sweep(self) -> None:
        """Look through all checkpoints in the store, and all uploads to them that were begun."""
        async for names in self._store.folders(CHECKPOINTS):
            for over in await self._over(names):
                if not over.is_saved:
                    await self._delete(over)
        async for uploads in self._store.uploads(CHECKPOINTS):
            await self._abort(uploads)

    async def _over(self, names: Iterable[str]) -> list[Over]:
        """Return which of these are over, as soon as the read model shows all that the log holds of them; none of them
        if that takes long: the next sweep sees them again."""
        newest = await log.last_of(self._client, subjects.event_filter())
        if newest is None or not await self._position.wait(newest.seq):
            return []
        before = datetime.now(UTC) - timedelta(seconds=self._grace_s)
        return [
            Over(
                checkpoint_id=CheckpointId(row["id"]),
                trial_id=TrialId(row["trial_id"]),
                experiment_id=ExperimentId(row["experiment_id"]),
                cause=row["cause"],
                is_saved=row["is_saved"],
            )
            for row in await self._database.fetch(_OVER, [name for name in names if _ID.fullmatch(name)], before)
        ]

    async def _delete(self, over: Over) -> None:
        requested = CheckpointDeletionRequested(
            checkpoint_id=over.checkpoint_id,
            trial_id=over.trial_id,
            experiment_id=over.experiment_id,
            reason=NEVER_COMPLETED,
        )
        await append(self._client, requested, actor=subjects.GATEWAY, causes=(over.cause,), expected=0)
        size_bytes = await self._store.size_below(checkpoint_key(over.checkpoint_id, ""))
        num_objects = await self._store.delete_below(checkpoint_key(over.checkpoint_id, ""))
        newest = await log.last_of(
            self._client, subjects.aggregate_subject(subjects.GATEWAY, "checkpoint", over.checkpoint_id)
        )
        assert newest is not None, "its deletion was requested"
        deleted = CheckpointDeleted(
            checkpoint_id=over.checkpoint_id,
            trial_id=over.trial_id,
            experiment_id=over.experiment_id,
            size_bytes=size_bytes,
        )
        await append(self._client, deleted, actor=subjects.GATEWAY, causes=(newest.seq,), expected=newest.seq)
        details = {"checkpoint": over.checkpoint_id, "num_objects": num_objects, "size_bytes": size_bytes}
        _log.info("what was left of a checkpoint that was never completed is deleted", extra=details)

    async def _abort(self, uploads: Iterable[Upload]) -> None:
        by_checkpoint: defaultdict[str, list[Upload]] = defaultdict(list)
        for upload in uploads:
            by_checkpoint[upload.key.removeprefix(CHECKPOINTS).partition("/")[0]].append(upload)
        for over in await self._over(by_checkpoint):
            for upload in by_checkpoint[over.checkpoint_id]:
                await self._store.abort(upload)
            _log.info("uploads aborted", extra={"checkpoint": over.checkpoint_id})
