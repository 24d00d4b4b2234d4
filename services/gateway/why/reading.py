"""Reads the events that an explanation goes by: those of an entity's life, and what caused them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace
from nats.aio.client import Client

from services.gateway import sight, tap
from services.gateway.past import Database, ReadModel
from services.gateway.sight import Sight
from services.gateway.views.events import EventItem
from services.gateway.views.why import ReasonGroup
from shared import log, subjects
from shared.events import ExperimentSubmitted
from shared.log import Recorded

MAX_EVENTS = 500
MAX_GROUPS = 20
READS_AT_ONCE = 16

_EVENTS_OF = """
SELECT seq FROM events_of WHERE kind = $1 AND id = $2 AND seq <= COALESCE($4, seq) ORDER BY seq DESC LIMIT $3
"""

# In the order of the requests: the policy may have had another. A trial waits where its experiment is: its own pool is
# the one that it was requested in.
_AHEAD = """
SELECT count(*) FROM trials t JOIN experiments e ON e.id = t.experiment_id
JOIN experiments p ON p.pool_id = e.pool_id
JOIN trials o ON o.experiment_id = p.id AND o.requested_seq < t.requested_seq
WHERE t.id = $1 AND o.state = 'WAITING' AND o.ended_at IS NULL
"""

# Those that wait for slots are explained by the scheduler.
_TRIAL_GROUPS = """
SELECT state, told, count(*) AS num_trials, (array_agg(id ORDER BY index))[1:3] AS trials FROM (
    SELECT t.id, t.index, t.state, COALESCE(t.reason, '') AS told
    FROM trials t WHERE t.experiment_id = $1 AND t.state <> 'WAITING'
) t GROUP BY state, told ORDER BY num_trials DESC, state, told LIMIT $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Events by sequence, as they are and as the API shows them."""

    known: dict[int, Recorded]
    items: list[EventItem]


async def events_of(
    database: Database, kind: str, name: str, limit: int = MAX_EVENTS, *, until: int | None = None
) -> list[int]:
    """Return the sequences of the newest events about an experiment or an agent as a whole, oldest first.

    None is later than `until`.
    """
    rows = await database.fetch(_EVENTS_OF, kind, name, limit, until)
    return sorted(row["seq"] for row in rows)


async def chain(sighted: Sight, life: Iterable[int], trial_id: str | None = None) -> Chain:
    """Return the events of a life and those that caused them, MAX_EVENTS at most, the newest first to be read.

    What is about an experiment that may not be seen is not among those known, and shown without what it says.

    An event of another trial than `trial_id` (whose result led to this one, say) is named, but its own causes are
    another story; where there is none, no causes are looked for at all.
    """
    found: dict[int, tuple[Recorded, EventItem]] = {}
    wanted = set(life)
    while wanted and len(found) < MAX_EVENTS:
        newest = sorted(wanted, reverse=True)[: MAX_EVENTS - len(found)]
        told = await _read(sighted.parts.client, newest)
        found |= {recorded.seq: (recorded, item) for recorded, item in told}
        ours = [
            recorded for recorded, _ in told if trial_id and getattr(recorded.event, "trial_id", trial_id) == trial_id
        ]
        wanted = {cause for recorded in ours for cause in recorded.envelope.causes} - found.keys()
    about = {
        seq: sight.experiment_of(recorded, item.aggregate, item.aggregate_id) for seq, (recorded, item) in found.items()
    }
    seen = await sighted.experiments({one for one in about.values() if one is not None})
    known = {seq: found[seq][0] for seq in sorted(found) if about[seq] is None or about[seq] in seen}
    return Chain(
        known=known, items=[item if seq in known else _veiled(item) for seq, (_, item) in sorted(found.items())]
    )


def _veiled(item: EventItem) -> EventItem:
    """Return an event of another workspace: that there was one, and which kind."""
    said = {"text": "an event of another workspace", "event": msgspec.Raw(b"{}")}
    return replace(item, actor="", correlation="", causes=[], id="", aggregate_id="", **said)


async def num_ahead(database: ReadModel, trial_id: str) -> int:
    """Return how many trials that were requested before one wait in its pool, too."""
    ahead: int = await database.fetchval(_AHEAD, trial_id)
    return ahead


async def trial_groups(database: ReadModel, experiment_id: str) -> list[ReasonGroup]:
    """Return an experiment's trials by state and reason, the largest groups first, without those that wait."""
    rows = await database.fetch(_TRIAL_GROUPS, experiment_id, MAX_GROUPS)
    return [
        ReasonGroup(state=row["state"], reason=row["told"], num_trials=row["num_trials"], trials=row["trials"])
        for row in rows
    ]


async def submitters(client: Client, experiment_ids: Iterable[str]) -> dict[str, str]:
    """Return who submitted each of the experiments."""

    async def read(experiment_id: str) -> tuple[str, str] | None:
        subject = subjects.event_filter(subjects.GATEWAY, "experiment", experiment_id, ExperimentSubmitted.__name__)
        message = await log.last_of(client, subject)
        recorded = None if message is None else tap.decode(message)
        return None if recorded is None else (experiment_id, recorded.envelope.actor)

    found = await asyncio.gather(*map(read, sorted(set(experiment_ids))))
    return dict(one for one in found if one is not None)


async def _read(client: Client, sequences: Iterable[int]) -> list[tuple[Recorded, EventItem]]:
    turn = asyncio.Semaphore(READS_AT_ONCE)

    async def read(seq: int) -> tuple[Recorded, EventItem] | None:
        async with turn:
            message = await log.read_one(client, seq)
        recorded = None if message is None else tap.decode(message)
        return None if message is None or recorded is None else (recorded, tap.item(recorded, message.subject))

    return [found for found in await asyncio.gather(*map(read, sequences)) if found is not None]
