"""The tracker against a real log and a real database: everything is folded, and folded once."""

import asyncio
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
import pytest
from nats.aio.client import Client

from services.tracker.migrate import migrate
from services.tracker.rebuild import rebuild
from services.tracker.service import Projection
from services.tracker.set_aside import Aside
from services.tracker.settings import Settings
from shared import postgres, subjects, volume
from shared.events import GPUReleased, ReleaseReason, TrialExtended
from shared.ids import AllocationId, PoolId
from shared.log import Message
from shared.series import Packed, read_raw, unpack
from shared.volume import MetricBatch, MetricPoint
from tests.support.eventually import PATIENCE_S, eventually
from tests.tracker import story
from tests.tracker.conftest import running_tracker

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
TABLES = (
    "experiments",
    "trials",
    "trial_events",
    "allocations",
    "agents",
    "slots",
    "checkpoints",
    "metrics",
    "training_steps",
)


async def folded(database: Database, position: int, name: str = "events") -> bool:
    """Whether the read model stands at a position or beyond."""
    try:
        found = await database.fetchval("SELECT position FROM projections WHERE name = $1", name)
    except asyncpg.UndefinedTableError:
        return False
    return isinstance(found, int) and found >= position


async def reached(database: Database, position: int, name: str = "events") -> None:
    """Wait until the read model stands at a position or beyond."""
    await eventually(lambda: folded(database, position, name))


async def contents(database: Database) -> dict[str, list[str]]:
    """Every row of the read model."""
    return {table: sorted(map(str, await database.fetch(f"SELECT * FROM {table}"))) for table in TABLES}


async def training_points(database: Database) -> list[tuple[str, str, int, int, float]]:
    """Every point that is stored: trial, name, epoch, step, value."""
    found: list[tuple[str, str, int, int, float]] = []
    for table, read in (("metric_chunks", unpack), ("metric_tails", read_raw)):
        rows = await database.fetch(f"SELECT * FROM {table} s JOIN metric_attempts a ON a.id = s.attempt_id")
        for row in rows:
            points = read(Packed(row["steps"], row["times"], row["values"]))
            key = (row["trial_id"], row["name"], row["epoch"])
            found += ((*key, step, value) for step, value in zip(points.steps, points.values, strict=True))
    return sorted(found)


def batch(*steps: int, epoch: int = 1) -> bytes:
    """Training metrics of the first trial."""
    points = tuple(MetricPoint(step=step, time=datetime.now(UTC), values={"loss": 1 / step}) for step in steps)
    return volume.encode(
        MetricBatch(trial_id=story.trial(), experiment_id=story.EXPERIMENT, epoch=epoch, points=points)
    )


async def test_a_search_becomes_rows(client: Client, database: Database, tracker: None) -> None:
    seq = await story.tell(client, story.whole_search())
    await reached(database, seq)
    experiment = await database.fetchrow("SELECT * FROM experiments")
    trials = await database.fetch("SELECT * FROM trials ORDER BY index")
    assert experiment is not None
    assert (experiment["state"], experiment["max_trials"], experiment["labels"]) == ("COMPLETED", 2, ["demo"])
    assert [(row["state"], row["metric"], row["best_step"], row["step"]) for row in trials] == [
        ("COMPLETED", 0.9, 20, 30),
        ("COMPLETED", 0.6, 10, 15),
    ]


async def test_two_trackers_fold_each_event_once(
    settings: Settings, client: Client, database: Database, tracker: None
) -> None:
    async with running_tracker(settings):
        seq = await story.tell(client, story.whole_search())
        await client.jetstream().publish(subjects.metrics_subject("a1", story.trial()), batch(1, 2, 3))
        await reached(database, seq)
        await reached(database, 1, "metrics")
    assert await database.fetchval("SELECT count(*) FROM trial_events") == len(story.whole_search()) - 3
    assert len(await training_points(database)) == 3


async def test_a_batch_that_is_delivered_again_changes_nothing(
    client: Client, database: Database, tracker: None
) -> None:
    subject = subjects.metrics_subject("a1", story.trial())
    body = batch(1, 2, 3)
    for _ in range(3):
        acknowledgement = await client.jetstream().publish(subject, body)
    await reached(database, acknowledgement.seq, "metrics")
    assert len(await training_points(database)) == 3
    assert await database.fetchval("SELECT step FROM training_steps") == 3


async def test_a_rebuild_while_serving_gives_the_same_rows(
    settings: Settings, client: Client, database: Database, tracker: None
) -> None:
    seq = await story.tell(client, story.whole_search())
    await client.jetstream().publish(subjects.metrics_subject("a1", story.trial()), batch(1, 2))
    await reached(database, seq)
    await reached(database, 1, "metrics")
    before, points = await contents(database), await training_points(database)
    await database.execute("UPDATE trials SET state = 'WRONG'")
    await rebuild(settings)
    await reached(database, seq)
    await reached(database, 1, "metrics")
    assert await contents(database) == before
    assert await training_points(database) == points and len(points) == 2


async def test_a_tracker_that_was_away_catches_up(settings: Settings, client: Client, database: Database) -> None:
    whole = story.whole_search()
    seq = await story.tell(client, whole[:9])
    async with running_tracker(settings):
        await reached(database, seq)
    seq = await story.tell(client, whole[9:])
    async with running_tracker(settings):
        await reached(database, seq)
    assert await database.fetchval("SELECT state FROM experiments") == "COMPLETED"


async def test_a_lost_database_connection_is_made_again(client: Client, database: Database, tracker: None) -> None:
    seq = await story.tell(client, story.whole_search()[:9])
    await reached(database, seq)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    await database.fetch(others, database.get_server_pid())
    seq = await story.tell(client, story.whole_search()[9:])
    await reached(database, seq)


async def test_a_batch_that_takes_too_long_is_written_in_parts_and_nothing_set_aside(
    client: Client, database: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        """A fold that needs 0.2 s for each message."""

        def __init__(self) -> None:
            self.written: list[int] = []
            self.num_attempts = 0

        async def prepare(self, connection: Database) -> None:
            """Nothing is needed."""

        async def write(self, connection: Database, messages: list[Message]) -> list[Aside]:
            """Take the time."""
            self.num_attempts += 1
            await connection.execute("SELECT pg_sleep($1)", 0.2 * len(messages))
            self.written += [message.seq for message in messages]
            return []

    await migrate(database)  # which may take longer than the timeout of this test
    monkeypatch.setattr(postgres, "COMMAND_TIMEOUT_S", 0.8)
    for step in range(1, 13):
        await client.jetstream().publish(subjects.metrics_subject("a1", story.trial()), batch(step))
    slow = Slow()
    projection = Projection(client, postgres_url, name="metrics", stream=subjects.METRICS, fold=slow)
    running = asyncio.create_task(projection.run())
    await reached(database, 12, "metrics")
    running.cancel()
    assert list(dict.fromkeys(slow.written)) == list(range(1, 13)) and slow.num_attempts > 3
    assert await database.fetchval("SELECT count(*) FROM set_aside") == 0


async def test_a_void_epoch_is_ignored(client: Client, database: Database, tracker: None) -> None:
    lost = GPUReleased(
        pool_id=PoolId("default"),
        allocation_id=AllocationId(f"{story.trial()}-a1"),
        trial_id=story.trial(),
        epoch=1,
        reason=ReleaseReason.AGENT_LOST,
    )
    events = [story.submitted(), story.requested(), story.allocated(), story.reported(5, 0.4), lost]
    events += [story.allocated(epoch=2), story.reported(10, 0.99, epoch=1), story.exited(epoch=1)]
    events += [story.reported(7, 0.5, epoch=2)]
    seq = await story.tell(client, events)
    await reached(database, seq)
    row = await database.fetchrow("SELECT state, metric, best_step, outcome FROM trials")
    assert row is not None and tuple(row) == ("RUNNING", 0.5, 7, None)


async def test_an_extended_trial_waits_again(client: Client, database: Database, tracker: None) -> None:
    extended = TrialExtended(experiment_id=story.EXPERIMENT, trial_id=story.trial(), rung=2, target=9, reason="best")
    events = [story.submitted(), story.requested(), story.allocated(), story.exited(), story.released(), extended]
    await reached(database, await story.tell(client, events))
    row = await database.fetchrow("SELECT state, outcome, reason FROM trials")
    assert row is not None and tuple(row) == ("WAITING", None, "best")


async def test_a_reader_hears_of_each_commit(client: Client, database: Database, tracker: None) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await database.add_listener("projection", lambda *told: heard.put_nowait(str(told[-1])))
    seq = await story.tell(client, [story.submitted()])
    async with asyncio.timeout(PATIENCE_S):
        assert await heard.get() == f"events {seq}"
