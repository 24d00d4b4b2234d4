"""What is folded in memory: a batch reads and writes each row once, whatever it says of it."""

from collections.abc import Sequence

import asyncpg
import pytest

from services.tracker.fold_events import EventFold
from services.tracker.migrate import migrate
from shared.events import Event
from tests.tracker import story
from tests.tracker.histories import messages
from tests.tracker.test_service import Database


@pytest.fixture
async def model(database: Database) -> Database:
    """A database with an empty read model, and the connection to it."""
    await migrate(database)
    return database


async def fold(database: Database, events: Sequence[Event]) -> None:
    """Fold the events in one batch."""
    folding = EventFold()
    await folding.prepare(database)
    assert not await folding.write(database, messages(events))


def life(index: int, num_reports: int) -> list[Event]:
    """A trial's life."""
    told = [story.reported(step, 0.5, index) for step in range(num_reports)]
    return [story.requested(index), story.allocated(index), *told, story.exited(index), story.released(index)]


async def test_a_batch_costs_what_it_is_about_and_not_how_much_it_says(model: Database) -> None:
    asked = []
    for trials, num_reports in (((1, 2), 5), ((3, 4), 50)):
        queries: list[object] = []
        model.add_query_logger(queries.append)
        await fold(model, [story.submitted(), *(event for n in trials for event in life(n, num_reports))])
        model.remove_query_logger(queries.append)
        asked.append(len(queries))
    assert 0 < asked[1] <= asked[0] < 25  # the second batch finds its statements prepared
    assert await model.fetchval("SELECT count(*) FROM history.trials WHERE id = $1", story.trial(3)) == 53


async def test_an_event_before_the_one_that_its_row_begins_with_changes_nothing(model: Database) -> None:
    await fold(model, [story.submitted(), story.released(), story.allocated(), story.requested(), story.started()])
    trial = await model.fetchrow("SELECT state, epoch, started_at, seq FROM trials")
    allocation = await model.fetchrow("SELECT released_at, seq FROM allocations")
    assert trial is not None and tuple(trial) == ("WAITING", 0, None, 4)
    assert allocation is not None and tuple(allocation) == (None, 3)


async def test_whoever_else_changes_a_trial_still_has_the_trigger_keep_the_version(
    model: Database, postgres_url: str
) -> None:
    await fold(model, [story.submitted(), story.requested()])
    other = await asyncpg.connect(postgres_url)
    await other.execute("UPDATE trials SET state = 'STOPPING', seq = 9")
    await other.close()
    assert await model.fetchval("SELECT state FROM history.trials WHERE until_seq = 9") == "WAITING"
    assert await model.fetchval("SELECT count(*) FROM history.experiments") == 0


async def test_what_an_administrator_does_between_trials_events_is_folded_in_its_place(model: Database) -> None:
    told = [story.submitted(), story.requested(1), story.agent_joined(), story.requested(2), story.allocated(2)]
    await fold(model, told)
    assert await model.fetchval("SELECT count(*) FROM slots") == 2
    assert await model.fetchval("SELECT state FROM trials WHERE index = 2") == "RUNNING"
