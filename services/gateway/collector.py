"""The garbage collector: deletes the checkpoints that nobody needs any more.

It acts on what the read model shows, as often as that changes, and does what is missing there:

    experiment over, more checkpoints than its policy keeps ──► CheckpointDeletionRequested   (or a user asks)
    deletion requested, not deleted ──► its objects deleted, the manifest with them ──► CheckpointDeleted
    an experiment's deletion requested ──► that of each of its checkpoints; none left ──► ExperimentDeleted

The request comes first, so that no trial resumes from files that are about to go. Whatever dies in between, the read
model still shows what is missing; deleting what is gone already changes nothing. Two gateways get in each other's way
as little: the second's append is refused. What the store refuses to delete is tried again, and holds up nothing else.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import asyncpg
import msgspec
from nats.aio.client import Client

from services.gateway.past import Database
from services.gateway.position import Position
from services.gateway.retention import Retention, Stored, superfluous
from shared import log, postgres, subjects
from shared.errors import Conflict, Refused, Unavailable
from shared.events import CheckpointDeleted, CheckpointDeletionRequested, ExperimentDeleted
from shared.events.checkpoint import CheckpointEvent
from shared.ids import CheckpointId, ExperimentId, TrialId
from shared.objectstore import ObjectStore, checkpoint_key

REST_S = 0.5  # between two looks, however fast the log grows
RETRY_S = 2.0
MAX_DELETIONS = 100  # in one look; the next goes on
WITH_EXPERIMENT = "its experiment is deleted"
BY_POLICY = "the experiment has ended, and its checkpoint_storage keeps others"

_POSITION = "SELECT position FROM projections WHERE name = 'events'"
# Of experiments that are over and of which something has changed: ended, or a late upload came in.
_OVER = """
WITH changed AS (
    SELECT id FROM experiments WHERE ended_at IS NOT NULL AND seq > $1
    UNION SELECT k.experiment_id FROM checkpoints k JOIN experiments e ON e.id = k.experiment_id
    WHERE k.saved_seq > $1 AND e.ended_at IS NOT NULL
)
SELECT k.experiment_id, k.id, k.trial_id, k.epoch, k.saved_seq, e.config -> 'checkpoint_storage' AS retention,
       e.seq AS cause, CASE WHEN e.smaller_is_better THEN m.value ELSE -m.value END AS metric
FROM changed c JOIN experiments e ON e.id = c.id
JOIN checkpoints k ON k.experiment_id = e.id AND k.state = 'ACTIVE'
LEFT JOIN metrics m ON m.trial_id = k.trial_id AND m."group" = 'validation' AND m.name = e.metric
    AND (m.step, m.epoch) = (k.step, k.epoch)
ORDER BY k.experiment_id
"""
_NEEDED = "SELECT config ->> 'resume_from' FROM experiments WHERE config ->> 'resume_from' = ANY($1::text[])"
# By id, those after the last one that was looked at first.
_TO_DELETE = """
SELECT id, trial_id, experiment_id, size_bytes, seq FROM checkpoints WHERE state = 'DELETING'
ORDER BY id <= $2, id LIMIT $1
"""

_DELETED = """
SELECT e.id AS experiment_id, e.seq AS cause, k.id, k.trial_id, k.state
FROM experiments e LEFT JOIN checkpoints k ON k.experiment_id = e.id AND k.state <> 'DELETED'
WHERE e.deletion = 'REQUESTED' ORDER BY e.id
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """A checkpoint whose deletion is requested, by the event `cause`."""

    checkpoint_id: str
    trial_id: str
    experiment_id: str
    size_bytes: int
    cause: int


class Collector:
    """Collects for ever."""

    def __init__(self, client: Client, database: Database, store: ObjectStore, position: Position) -> None:
        self._client = client
        self._database = database
        self._store = store
        self._position = position
        self._examined = 0  # no experiment that ended before this event needs another look
        self._last = ""  # the last checkpoint whose deletion was tried

    async def run(self) -> None:
        """Look whenever the read model has moved."""
        looked_at = 0
        while True:
            if not await self._position.wait(looked_at + 1):
                continue
            looked_at = self._position.value
            try:
                await self.look()
            except (Refused, Unavailable, asyncpg.SyntaxOrAccessError, *postgres.UNREACHABLE) as error:
                _log.warning("collecting failed, trying again", extra={"error": repr(error)})
                looked_at = 0
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(REST_S)

    async def look(self) -> None:
        """Request and carry out what is missing now. Raises Refused when the store refused some; the rest is done."""
        position = await self._database.fetchval(_POSITION)
        rows = await self._database.fetch(_OVER, self._examined)
        for experiment_id, group in groupby(rows, key=lambda row: row["experiment_id"]):
            await self._request(experiment_id, list(group))
        self._examined = position
        deleted = await self._database.fetch(_DELETED)
        for experiment_id, group in groupby(deleted, key=lambda row: row["experiment_id"]):
            await self._delete_experiment(experiment_id, list(group))
        await self._delete_requested()

    async def _request(self, experiment_id: str, rows: Sequence[asyncpg.Record]) -> None:
        retention = msgspec.json.decode(rows[0]["retention"] or "{}", type=Retention)
        stored = [
            Stored(
                checkpoint_id=row["id"],
                trial_id=row["trial_id"],
                epoch=row["epoch"],
                saved_seq=row["saved_seq"],
                metric=row["metric"],
            )
            for row in rows
        ]
        ids = [checkpoint.checkpoint_id for checkpoint in stored]
        needed = {row[0] for row in await self._database.fetch(_NEEDED, ids)}
        trials = {checkpoint.checkpoint_id: checkpoint.trial_id for checkpoint in stored}
        for checkpoint_id in superfluous(stored, retention, needed):
            event = CheckpointDeletionRequested(
                checkpoint_id=CheckpointId(checkpoint_id),
                trial_id=TrialId(trials[checkpoint_id]),
                experiment_id=ExperimentId(experiment_id),
                reason=BY_POLICY,
            )
            await append(self._client, event, actor=subjects.GATEWAY, causes=(rows[0]["cause"],), expected=0)

    async def _delete_experiment(self, experiment_id: str, rows: Sequence[asyncpg.Record]) -> None:
        """Have all checkpoints of an experiment deleted; when none is left, say that it is deleted."""
        for row in rows:
            if row["id"] is not None and row["state"] != "DELETING":
                event = CheckpointDeletionRequested(
                    checkpoint_id=CheckpointId(row["id"]),
                    trial_id=TrialId(row["trial_id"]),
                    experiment_id=ExperimentId(experiment_id),
                    reason=WITH_EXPERIMENT,
                )
                await append(self._client, event, actor=subjects.GATEWAY, causes=(row["cause"],), expected=0)
        if rows[0]["id"] is None:
            newest = await log.last_of(
                self._client, subjects.aggregate_subject(subjects.GATEWAY, "experiment", experiment_id)
            )
            deleted = ExperimentDeleted(experiment_id=ExperimentId(experiment_id))
            causes, expected = (rows[0]["cause"],), newest.seq if newest else 0
            await append(self._client, deleted, actor=subjects.GATEWAY, causes=causes, expected=expected)
            _log.info("experiment deleted", extra={"experiment": experiment_id})

    async def _delete_requested(self) -> None:
        refused: Refused | None = None
        for row in await self._database.fetch(_TO_DELETE, MAX_DELETIONS, self._last):
            self._last = row["id"]
            doomed = Doomed(
                checkpoint_id=row["id"],
                trial_id=row["trial_id"],
                experiment_id=row["experiment_id"],
                size_bytes=int(row["size_bytes"]),
                cause=row["seq"],
            )
            try:
                await self._delete(doomed)
            except Refused as error:  # of this one: those behind it may be deleted
                _log.warning("checkpoint not deleted", extra={"checkpoint": row["id"], "error": repr(error)})
                refused = error
        if refused is not None:
            raise refused

    async def _delete(self, doomed: Doomed) -> None:
        num_objects = await self._store.delete_below(checkpoint_key(doomed.checkpoint_id, ""))
        event = CheckpointDeleted(
            checkpoint_id=CheckpointId(doomed.checkpoint_id),
            trial_id=TrialId(doomed.trial_id),
            experiment_id=ExperimentId(doomed.experiment_id),
            size_bytes=doomed.size_bytes,
        )
        await append(self._client, event, actor=subjects.GATEWAY, causes=(doomed.cause,), expected=doomed.cause)
        _log.info("checkpoint deleted", extra={"checkpoint": doomed.checkpoint_id, "num_objects": num_objects})


async def append(
    client: Client, event: CheckpointEvent | ExperimentDeleted, *, actor: str, causes: tuple[int, ...], expected: int
) -> None:
    """Append what we say of a checkpoint or of an experiment, unless somebody has said it already."""
    envelope = log.envelope_of(
        event, writer=subjects.GATEWAY, actor=actor, correlation=event.experiment_id, causes=causes
    )
    try:
        await log.append_once(client, envelope, expected=expected)
    except Conflict:
        _log.info("said already", extra={"event": envelope.name, event.aggregate: event.aggregate_id})
