"""Why a trial is where it is: its own life, and what made that necessary."""

import asyncio
from collections.abc import Iterable

from nats.aio.client import Client

from services.gateway import queries, tap
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.views import EventItem, Why
from shared import log
from shared.events import CheckpointSaved, CheckpointShardUploaded, GangMemberExited, MetricReported, RendezvousOpened
from shared.log import Recorded

MAX_EVENTS = 500
READS_AT_ONCE = 16

#: What happens over and over in a trial's life and explains nothing by itself.
_TELEMETRY = frozenset(
    event.__name__
    for event in (MetricReported, CheckpointSaved, CheckpointShardUploaded, RendezvousOpened, GangMemberExited)
)


async def explain(call: Call[Query]) -> Why:
    """The trial's life from its request to its end, with all causes, by sequence."""
    trial_id = call.id("trial")
    told = await queries.trial_events(call.parts.database, trial_id)
    life = [seq for seq, name in told if name not in _TELEMETRY]
    chain = await _causes(call.parts.client, trial_id, life[-MAX_EVENTS:])
    return Why(trial_id=trial_id, chain=[chain[seq] for seq in sorted(chain)])


async def _causes(client: Client, trial_id: str, life: list[int]) -> dict[int, EventItem]:
    """Return the events of a trial's life and those that caused them.

    An event of another trial (whose result led to this one, say) is named, but its own causes are another story.
    """
    chain: dict[int, EventItem] = {}
    wanted = set(life)
    while wanted and len(chain) < MAX_EVENTS:
        newest = sorted(wanted, reverse=True)[: MAX_EVENTS - len(chain)]
        found = await _read(client, newest)
        chain |= {recorded.seq: item for recorded, item in found}
        ours = (recorded for recorded, _ in found if getattr(recorded.event, "trial_id", trial_id) == trial_id)
        wanted = {cause for recorded in ours for cause in recorded.envelope.causes} - chain.keys()
    return chain


async def _read(client: Client, sequences: Iterable[int]) -> list[tuple[Recorded, EventItem]]:
    turn = asyncio.Semaphore(READS_AT_ONCE)

    async def read(seq: int) -> tuple[Recorded, EventItem] | None:
        async with turn:
            message = await log.read_one(client, seq)
        recorded = None if message is None else tap.decode(message)
        return None if message is None or recorded is None else (recorded, tap.item(recorded, message.subject))

    return [found for found in await asyncio.gather(*map(read, sequences)) if found is not None]


ROUTES = (get(f"{PREFIX}/trials/{{id}}/why", explain, Query, Why, "The causal chain behind a trial's state"),)
