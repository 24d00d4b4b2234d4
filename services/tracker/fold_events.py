"""Writes a batch of EVENTS: rows of experiments, trials, allocations, agents and checkpoints."""

import asyncpg

from services.tracker import projection
from services.tracker.set_aside import Aside, Unknown
from services.tracker.statement import At, Statement, in_waves
from shared import log
from shared.events import (
    AgentLost,
    AgentRefused,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentStopped,
    GPUAllocated,
    JobEvent,
)
from shared.events.administration import AgentIntent
from shared.events.agent import AgentEvent
from shared.events.experiment import ExperimentIntent
from shared.log import Message, Recorded

_TRIAL_EVENTS = """
INSERT INTO trial_events (trial_id, seq, name) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
ON CONFLICT DO NOTHING
"""


_EVENTS_OF = """
INSERT INTO events_of (kind, id, seq, name) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
ON CONFLICT DO NOTHING
"""


class EventFold:
    """What becomes of EVENTS."""

    async def prepare(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Nothing is needed on a new connection."""

    async def write(self, connection: "asyncpg.Connection[asyncpg.Record]", messages: list[Message]) -> list[Aside]:
        """Write what the messages mean; return those that mean nothing to us."""
        batch: list[Statement] = []
        told: list[tuple[str, int, str]] = []
        whose: list[tuple[str, str, int, str]] = []
        asides: list[Aside] = []
        for message in messages:
            try:
                recorded = log.decode_recorded(message)
                batch += _statements(recorded)
                told += _of_trial(recorded)
                whose += _of_whole(recorded)
            except Exception as error:  # noqa: BLE001 # one message must not stop the rest; it is logged and kept
                asides.append(Aside(message, error))
        for sql, rows in in_waves(batch):
            if len(rows) == 1:
                await connection.execute(sql, *rows[0])
            else:
                await connection.executemany(sql, rows)
        if told:
            await connection.execute(_TRIAL_EVENTS, *map(list, zip(*told, strict=True)))
        if whose:
            await connection.execute(_EVENTS_OF, *map(list, zip(*whose, strict=True)))
        return asides


def _statements(recorded: Recorded) -> list[Statement]:
    if recorded.event is None:
        name, version = recorded.envelope.name, recorded.envelope.version
        raise Unknown(f"{name} version {version} is an event type that this tracker does not know")
    at = At(recorded.seq, recorded.envelope.time, recorded.envelope.actor)
    return projection.statements(recorded.event, at)


def _of_trial(recorded: Recorded) -> list[tuple[str, int, str]]:
    trial_id = getattr(recorded.event, "trial_id", None)
    return [(trial_id, recorded.seq, recorded.envelope.name)] if isinstance(trial_id, str) else []


def _of_whole(recorded: Recorded) -> list[tuple[str, str, int, str]]:
    """Return which experiment or agents an event is about as a whole; what is about a trial is found by trial."""
    event = recorded.event
    match event:
        case ExperimentIntent() | JobEvent() | ExperimentCompleted() | ExperimentFailed() | ExperimentStopped():
            about = [("experiment", str(event.experiment_id))]
        case GPUAllocated():
            about = [("agent", str(member.agent_id)) for member in event.members]
        case AgentLost() | AgentRefused() | AgentEvent() | AgentIntent():
            about = [("agent", str(event.agent_id))]
        case _:
            return []
    return [(kind, name, recorded.seq, recorded.envelope.name) for kind, name in about]
