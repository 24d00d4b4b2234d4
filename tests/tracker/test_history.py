"""The past, exactly: what the read model says of any earlier event is what it said when that event was the newest."""

import re

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from services.tracker import projection
from services.tracker.fold_events import EventFold
from services.tracker.migrate import migrate
from services.tracker.model import SHAPES
from services.tracker.rebuild import rebuild
from services.tracker.settings import Settings
from shared.events import Event, ExperimentSubmitted
from tests.shared.samples import SAMPLES
from tests.tracker import story
from tests.tracker.histories import BEGINNING, histories, messages
from tests.tracker.test_projection import AT
from tests.tracker.test_service import Database, reached

TRACKED = (
    "experiments", "trials", "allocations", "agents", "slots", "checkpoints", "closures", "pool_policies", "limits",
    "slot_faults",
)  # fmt: skip

Rows = dict[str, list[str]]


@pytest.fixture
async def model(database: Database) -> Database:
    """A database with an empty read model, and the connection to it."""
    await migrate(database)
    return database


async def now(database: Database, schema: str = "public") -> Rows:
    """Every row of the tables that have a history."""
    return {name: sorted(map(str, await database.fetch(f"SELECT * FROM {schema}.{name}"))) for name in TRACKED}


async def as_of(database: Database, seq: int) -> Rows:
    """The same, right after the event `seq`."""
    await database.execute("SELECT set_config('tm.as_of', $1, false)", str(seq))
    return await now(database, "as_of")


async def prepared(database: Database) -> EventFold:
    """What folds into the database."""
    folding = EventFold()
    await folding.prepare(database)
    return folding


async def fold(database: Database, events: list[Event], sizes: list[int]) -> list[Rows]:
    """Fold the events in batches of these sizes (the last one as often as needed); return the rows after each."""
    waiting, seen = messages(events), [await now(database)]
    folding = await prepared(database)
    while waiting:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        await folding.write(database, waiting[:size])
        waiting = waiting[size:]
        seen.append(await now(database))
    return seen


@given(histories(), st.lists(st.integers(1, 30), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
async def test_the_past_is_what_a_projection_that_stopped_there_shows(
    model: Database, events: list[Event], sizes: list[int]
) -> None:
    undone = model.transaction()
    await undone.start()
    was = await fold(model, events, [1])
    await undone.rollback()
    undone = model.transaction()
    await undone.start()
    await fold(model, events, sizes)
    for seq, rows in enumerate(was):
        assert await as_of(model, seq) == rows, f"as of {seq}"
    await undone.rollback()


async def test_the_past_has_the_columns_of_the_present(model: Database) -> None:
    """A migration that adds a column has it shown in the past too: the tracker sees to that after every migration."""
    await model.execute("ALTER TABLE agents ADD COLUMN mood text NOT NULL DEFAULT 'calm'; SELECT history.refresh()")
    columns = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = $1 AND table_name = ANY ($2) ORDER BY table_name, ordinal_position"
    )
    assert await model.fetch(columns, "public", TRACKED) == await model.fetch(columns, "as_of", TRACKED)
    await (await prepared(model)).write(model, messages([story.agent_joined(), story.agent_joined(1)]))
    assert [row["mood"] for row in await model.fetch("SELECT mood FROM history.agents")] == ["calm"]


def changes() -> set[str]:
    """The SQL of the projection that changes a row of a table with a history, or makes one."""
    events = [*BEGINNING, *(event for event in SAMPLES if type(event) is not ExperimentSubmitted)]
    known = {statement.sql.strip() for event in events for statement in projection.statements(event, AT)}
    return {sql for sql in known if re.match(f"(INSERT INTO|UPDATE) ({'|'.join(TRACKED)})\\b", sql)}


def test_whatever_changes_a_row_says_by_which_event() -> None:
    assert len(changes()) > len(TRACKED)
    assert not [sql for sql in changes() if "seq" not in sql]


async def test_nothing_changes_what_is_said_never_to_change(model: Database) -> None:
    constants = {
        row["name"]: row["constants"] for row in await model.fetch("SELECT name, constants FROM history.tracked")
    }
    for sql in changes():
        words = re.split(r"\s+", sql)
        table = words[2] if words[0] == "INSERT" else words[1]
        assigned = set(re.findall(r"(?:SET|,)\s*(\w+)\s*=", sql))
        assert not assigned & set(constants[table]), sql
    for shape in SHAPES:
        assert not {*shape.changing} & {*constants[shape.name]}, shape.name


def test_no_statement_touches_a_table_that_is_folded_in_memory() -> None:
    """Nobody would keep the version before: the connection has taken that over."""
    assert not [sql for sql in changes() if re.match(r"\S+( INTO)? (trials|allocations|checkpoints)\b", sql)]


async def test_versions_that_nobody_could_tell_apart_are_not_kept(model: Database) -> None:
    first, *rest = messages([*BEGINNING, story.allocated(), story.released(), story.released()])
    await (await prepared(model)).write(model, [first, *rest])
    assert await model.fetchval("SELECT count(*) FROM history.allocations") == 1
    assert await model.fetchval("SELECT count(*) FROM history.trials WHERE id = $1", story.trial(1)) == 2
    constant = await model.fetch("SELECT column_name FROM information_schema.columns WHERE table_schema = 'history'")
    assert "hyperparameters" not in {row["column_name"] for row in constant}


async def test_a_rebuild_refills_the_history(
    settings: Settings, client: Client, database: Database, tracker: None
) -> None:
    seq = await story.tell(client, story.whole_search())
    await reached(database, seq)
    middle = await as_of(database, seq // 2)
    await database.execute("UPDATE history.trials SET state = 'WRONG'; UPDATE history.agents SET state = 'WRONG'")
    await rebuild(settings)
    assert await database.fetchval("SELECT count(*) FROM history.trials WHERE state = 'WRONG'") == 0
    await reached(database, seq)
    assert await as_of(database, seq // 2) == middle and middle["trials"]


async def test_a_setting_that_is_missing_is_an_error_and_not_the_present(model: Database) -> None:
    await (await prepared(model)).write(model, messages(BEGINNING))
    with pytest.raises(asyncpg.UndefinedObjectError):
        await model.fetch("SELECT * FROM as_of.trials")
