"""Tables that are there already are taken along by a newer tracker, and come to what a rebuild gives."""

import re
import shutil
from pathlib import Path

from services.tracker.migrate import MIGRATIONS, migrate
from services.tracker.service import CHANNEL
from shared.events import SearchLimitsSet
from tests.support.eventually import eventually
from tests.tracker import story
from tests.tracker.histories import messages
from tests.tracker.test_history import Rows, as_of, fold, prepared
from tests.tracker.test_service import Database

EVENTS = [*story.whole_search(), SearchLimitsSet(experiment_id=story.EXPERIMENT, max_concurrent_trials=3)]


def before(name: str, folder: Path) -> Path:
    """The migrations that were there before one."""
    for path in MIGRATIONS.glob("[0-9]*.sql"):
        if path.name < name:
            shutil.copy(path, folder)
    return folder


async def everything(database: Database) -> list[Rows]:
    """The rows that have a history, after each of the events."""
    return [await as_of(database, seq) for seq in range(len(EVENTS) + 1)]


async def test_what_earlier_migrations_filled_in_becomes_what_the_log_says(database: Database, tmp_path: Path) -> None:
    await migrate(database, before("0020", tmp_path))
    await fold(database, EVENTS, [5])
    right = await everything(database)
    filled = re.findall(
        r"UPDATE [^;]*max_concurrent_trials[^;]*;", (MIGRATIONS / "0018_concurrent_trials.sql").read_text()
    )
    assert len(filled) == 2
    for sql in (*filled, "UPDATE history.trials SET best_epoch = NULL"):
        await database.execute(sql)
    await database.execute("UPDATE projections SET position = 99 WHERE name = 'events'")
    await database.execute(
        "INSERT INTO set_aside VALUES ('EVENTS', 7, '', now(), 1, ''), ('METRICS', 8, '', now(), 1, '')"
    )
    assert await everything(database) != right
    heard: list[object] = []
    await database.add_listener(CHANNEL, lambda *told: heard.append(told[-1]))
    await migrate(database)
    await eventually(lambda: "events 0" in heard)
    assert await database.fetchval("SELECT position FROM projections WHERE name = 'events'") == 0
    assert [row["stream"] for row in await database.fetch("SELECT stream FROM set_aside")] == ["METRICS"]
    await (await prepared(database)).write(database, messages(EVENTS))
    assert await everything(database) == right
    assert await database.fetchval("SELECT max_concurrent_trials FROM experiments") == 3
