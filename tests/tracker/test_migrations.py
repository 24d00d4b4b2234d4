"""Tables that are there already are taken along by a newer tracker."""

import shutil
from pathlib import Path

import asyncpg

from services.tracker.migrate import MIGRATIONS, migrate

_AN_EXPERIMENT = """
INSERT INTO experiments (id, name, description, labels, state, config, searcher, metric, smaller_is_better, max_trials,
                         slots_per_trial, pool_id, code_sha256, code_bytes, submitted_at, submitted_seq, seq, workspace,
                         priority, weight, project, owner)
VALUES ($1, 'digits', '', '{}', 'ACTIVE', $2, 'random', 'loss', true, 2, 1, 'default', '', 0, now(), $3, $3, '', 42, 1,
        '', 'ada')
"""


async def test_a_searchs_limit_is_taken_from_its_file_for_the_past_too(postgres_url: str, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("00*.sql"):
        if path.name < "0018":
            shutil.copy(path, tmp_path)
    connection = await asyncpg.connect(postgres_url)
    try:
        await migrate(connection, tmp_path)
        await connection.execute(_AN_EXPERIMENT, "limited1", '{"searcher": {"max_concurrent_trials": 3}}', 1)
        await connection.execute(_AN_EXPERIMENT, "single01", '{"searcher": {"name": "single"}}', 2)
        await connection.execute("UPDATE experiments SET state = 'PAUSED', seq = 3 WHERE id = 'limited1'")
        await migrate(connection)
        now = await connection.fetch("SELECT id, state, max_concurrent_trials AS n FROM experiments ORDER BY id")
        assert [tuple(row) for row in now] == [("limited1", "PAUSED", 3), ("single01", "ACTIVE", None)]
        async with connection.transaction():
            await connection.execute("SELECT set_config('tm.as_of', '1', true)")
            then = await connection.fetch("SELECT id, state, max_concurrent_trials AS n FROM as_of.experiments")
        assert [tuple(row) for row in then] == [("limited1", "ACTIVE", 3)]
    finally:
        await connection.close()
