"""The shell: follows EVENTS and METRICS and writes each batch with its position in one transaction.

The position decides. A batch is written only if the database still stands where the batch begins; if not, another
instance was faster or somebody rebuilds, and following starts anew from where the database stands. So delivery
may repeat and processes may die at any moment: each message is folded once.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import asyncpg
from nats.aio.client import Client

from services.tracker.auditor import Auditor, ensure_key
from services.tracker.fold_events import EventFold
from services.tracker.fold_metrics import MetricFold
from services.tracker.instruments import TRANSACTION_SECONDS
from services.tracker.migrate import migrate
from services.tracker.set_aside import Aside, keep, tell
from services.tracker.settings import Settings
from shared import broker, postgres, runtime, subjects
from shared.exposition import Exposition
from shared.instruments import FOLDED, SET_ASIDE, timed
from shared.log import Follower, Message

MAX_BATCH = 2_000  # messages in one transaction
MAX_BATCH_BYTES = 4 * 1024 * 1024  # of their bodies: a message of METRICS may be tens of thousands of rows
CHANNEL = "projection"  # NOTIFY payload: "<name> <position>"

#: What PostgreSQL raises about rows that it cannot hold: their message is set aside. Whatever else it raises is about
#: the database (a table that is missing, a full disk), and no message is to blame.
BAD_ROWS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)

_ADVANCE = "UPDATE projections SET position = $3 WHERE name = $1 AND position = $2 RETURNING position"
_NUM_SET_ASIDE = "SELECT count(*) FROM set_aside WHERE stream = $1"

_log = logging.getLogger(__name__)


class Fold(Protocol):
    """What becomes of the messages of one stream."""

    async def prepare(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Get ready for `write`: on a new connection, and after a transaction that failed."""

    async def write(self, connection: "asyncpg.Connection[asyncpg.Record]", messages: list[Message]) -> list[Aside]:
        """Write what the messages mean, and return those that mean nothing. Raises when one cannot be written."""


class Moved(Exception):
    """The database does not stand where this batch begins."""


class Projection:
    """Keeps the rows of one stream up to date, for ever."""

    def __init__(self, client: Client, postgres_url: str, *, name: str, stream: str, fold: Fold) -> None:
        self._client = client
        self._postgres_url = postgres_url
        self._name = name
        self.stream = stream
        self._fold = fold
        self.position = 0
        self.num_set_aside = 0

    async def run(self) -> None:
        """Follow the stream; start anew from the database's position when that moved or the server went away."""
        while True:
            try:
                async with _connection(self._postgres_url) as connection:
                    await migrate(connection)
                    await self._fold.prepare(connection)
                    await self._follow(connection)
            except Moved:
                _log.info("position moved, following from there", extra={"projection": self._name})
            except postgres.UNREACHABLE as error:
                _log.warning("waiting for postgres", extra={"error": repr(error)})
                await asyncio.sleep(postgres.RETRY_S)

    async def _follow(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.position = await connection.fetchval("SELECT position FROM projections WHERE name = $1", self._name)
        self.num_set_aside = await connection.fetchval(_NUM_SET_ASIDE, self.stream)
        follower = Follower(self._client, self.stream, after=self.position)
        moved = asyncio.Event()

        def heard(connection: object, pid: int, channel: str, payload: object) -> None:
            name, position = str(payload).split()
            if name == self._name and int(position) < self.position:
                moved.set()
                follower.poke()

        def ended(connection: object) -> None:
            follower.poke()

        await connection.add_listener(CHANNEL, heard)
        connection.add_termination_listener(ended)
        try:
            while not moved.is_set() and not connection.is_closed():
                messages = await follower.next()
                for batch in in_batches(messages):
                    await self._write(connection, batch)
        finally:
            await follower.close()

    async def _write(self, connection: "asyncpg.Connection[asyncpg.Record]", messages: list[Message]) -> None:
        """Write the messages; when some cannot be written, halve until those stand alone, and set them aside.

        Each half is a transaction of its own: what was good is kept. What takes too long is halved too, but never set
        aside: the database is slow then, not the message bad.
        """
        try:
            await self._transact(connection, messages)
        except Exception as error:
            half = len(messages) // 2
            is_slow = isinstance(error, TimeoutError)
            if not (is_slow or _is_message_to_blame(error)) or (is_slow and not half):
                raise
            await self._fold.prepare(connection)
            if half:
                await self._write(connection, messages[:half])
                await self._write(connection, messages[half:])
            else:
                await self._transact(connection, messages, [Aside(messages[0], error)])

    async def _transact(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        messages: list[Message],
        asides: list[Aside] | None = None,
    ) -> None:
        """Write the messages, or that they are set aside, with the position."""
        with timed(TRANSACTION_SECONDS.labels(self.stream)):
            async with self._advanced(connection, messages[-1].seq):
                found = await self._fold.write(connection, messages) if asides is None else asides
                if found:
                    await keep(connection, self.stream, found)
        FOLDED.labels(self.stream).inc(len(messages))
        self.position = messages[-1].seq
        self.num_set_aside += len(found)
        tell(self.stream, found)

    @asynccontextmanager
    async def _advanced(self, connection: "asyncpg.Connection[asyncpg.Record]", position: int) -> AsyncIterator[None]:
        """A transaction that moves the position. Raises Moved.

        It need not be on disk when it commits: what a crash of the database forgets is folded again.
        """
        async with connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit = off")
            if await connection.fetchval(_ADVANCE, self._name, self.position, position) is None:
                raise Moved
            yield
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{self._name} {position}")


def _is_message_to_blame(error: Exception) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return isinstance(error, BAD_ROWS)
    is_argument = isinstance(error, ValueError)  # how asyncpg refuses one; also an error of its interface
    return is_argument or not isinstance(error, (Moved, *postgres.UNREACHABLE))


def in_batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield the messages in batches of at most MAX_BATCH and, unless it is a single one, MAX_BATCH_BYTES."""
    batch: list[Message] = []
    num_bytes = 0
    for message in messages:
        if batch and (len(batch) == MAX_BATCH or num_bytes + len(message.body) > MAX_BATCH_BYTES):
            yield batch
            batch, num_bytes = [], 0
        batch.append(message)
        num_bytes += len(message.body)
    if batch:
        yield batch


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(
        url, timeout=postgres.CONNECT_TIMEOUT_S, command_timeout=postgres.COMMAND_TIMEOUT_S
    )
    try:
        yield connection
    finally:
        connection.terminate()


def _position(projection: Projection) -> int:
    return projection.position


async def serve(settings: Settings) -> None:
    """Run the tracker until it is cancelled."""
    async with broker.connect(settings.nats_url, "tracker") as client, asyncio.TaskGroup() as tasks:
        following = [
            Projection(client, settings.postgres_url, name="events", stream=subjects.EVENTS, fold=EventFold()),
            Projection(client, settings.postgres_url, name="metrics", stream=subjects.METRICS, fold=MetricFold()),
        ]

        def facts() -> dict[str, int]:
            return {
                "position": following[0].position,
                "num_set_aside": sum(projection.num_set_aside for projection in following),
            }

        positions = {projection.stream: partial(_position, projection) for projection in following}
        shown = Exposition(client, subjects.TRACKER, positions, lambda: SET_ASIDE.set(facts()["num_set_aside"]))
        tasks.create_task(shown.run(), name="show metrics")
        if settings.audit_key is not None:
            auditor = Auditor(client, ensure_key(settings.audit_key), settings.rhythm)
            tasks.create_task(auditor.run(), name="seal the log")
        for projection, name in zip(following, ("events", "metrics"), strict=True):
            tasks.create_task(projection.run(), name=f"project {name}")
        tasks.create_task(runtime.beat(client, subjects.health_subject(subjects.TRACKER, "main"), facts), name="beat")
