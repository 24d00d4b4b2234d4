"""Writes a batch of EVENTS: rows of experiments, trials, allocations, agents and checkpoints."""

from services.tracker import projection, trials
from services.tracker.bulk import TAKE_OVER, Connection
from services.tracker.model import Model, Told
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
    """What becomes of EVENTS.

    Most events are folded in memory (trials.py), the others by a statement each (projection.py). One kind is written
    before the other begins, so that each finds what the log says by then.
    """

    def __init__(self) -> None:
        self._model = Model()

    async def prepare(self, connection: Connection) -> None:
        """Take the history of the tables folded in memory over from the triggers, and remember no row of them."""
        await connection.execute(TAKE_OVER)
        self._model = Model()
        for table in self._model.tables.values():
            await table.prepare(connection)

    async def write(self, connection: Connection, messages: list[Message]) -> list[Aside]:
        """Write what the messages mean; return those that mean nothing to us."""
        told: list[tuple[str, int, str]] = []
        whose: list[tuple[str, str, int, str]] = []
        asides: list[Aside] = []
        waiting: list[Statement] = []
        run: list[Told] = []
        beside: list[Statement] = []  # what the events of trials mean for other tables
        for message in messages:
            try:
                recorded = log.decode_recorded(message)
                event, at = _told(recorded)
                statements = projection.statements(event, at)
            except Exception as error:  # noqa: BLE001 # one message must not stop the rest; it is logged and kept
                asides.append(Aside(message, error))
                continue
            if type(event) in trials.EVENTS:
                waiting = await self._execute(connection, waiting)
                run.append((event, at))
                beside += statements
            elif statements:
                run = await self._fold(connection, run)
                waiting += statements
            told += _of_trial(recorded)
            whose += _of_whole(recorded)
        await self._fold(connection, run)
        await self._execute(connection, waiting + beside)
        if told:
            await connection.execute(_TRIAL_EVENTS, *map(list, zip(*told, strict=True)))
        if whose:
            await connection.execute(_EVENTS_OF, *map(list, zip(*whose, strict=True)))
        return asides

    async def _execute(self, connection: Connection, statements: list[Statement]) -> list[Statement]:
        """Run the statements; return what is left: none."""
        for sql, rows in in_waves(statements):
            if len(rows) == 1:
                await connection.execute(sql, *rows[0])
            else:
                await connection.executemany(sql, rows)
        for statement in statements:
            self._model.forget(statement.keys)
        return []

    async def _fold(self, connection: Connection, run: list[Told]) -> list[Told]:
        """Fold the events in memory and write what came of it; return what is left: none."""
        if run:
            await self._model.fetch(connection, run)
            for event, at in run:
                trials.fold(event, at, self._model)
            await self._model.write(connection)
        return []


def _told(recorded: Recorded) -> Told:
    if recorded.event is None:
        name, version = recorded.envelope.name, recorded.envelope.version
        raise Unknown(f"{name} version {version} is an event type that this tracker does not know")
    return recorded.event, At(recorded.seq, recorded.envelope.time, recorded.envelope.actor)


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
